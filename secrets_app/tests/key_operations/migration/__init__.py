"""From the key file or an older scheme to KMS, and back."""
