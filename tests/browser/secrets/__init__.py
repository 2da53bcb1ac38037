"""Pages of secrets."""
