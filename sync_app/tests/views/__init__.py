"""The sync pages over rows made by hand, and over real work where they start it."""
