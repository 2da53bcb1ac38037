"""API of the project: reports, the version."""
