"""Data keys moved from the key file to KMS and back."""
