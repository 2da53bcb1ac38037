"""AWS KMS as key provider."""
