"""AWS Secrets Manager as backend."""
