"""The API of secrets."""
