"""API of the project: reports."""
