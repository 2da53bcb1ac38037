"""The format of a backup archive."""
