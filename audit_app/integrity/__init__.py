"""Authentication of rows, and the checks that find modified ones."""
