"""Moves data keys from the key file to KMS, while the service runs, and back."""
