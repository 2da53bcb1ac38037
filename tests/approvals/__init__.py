"""Acts that take a second person."""
