"""What the pages are in a browser: they work, by keyboard and without scripts too, and leak nothing."""
