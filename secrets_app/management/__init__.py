"""Management commands of secrets_app."""
