"""The AWS Secrets Manager-compatible API under /aws: what AWS SDKs ask, answered from Keeper."""
