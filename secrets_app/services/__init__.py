"""Use cases: read, write, delete, share, transfer, promote."""
