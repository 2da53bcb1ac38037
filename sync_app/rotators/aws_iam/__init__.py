"""Access keys of AWS IAM users."""
