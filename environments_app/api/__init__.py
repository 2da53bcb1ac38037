"""The API of environments, members and tokens."""
