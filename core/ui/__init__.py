"""Charts, words and times of pages: pure."""
