"""Webhooks of secrets: configuration and delivery."""
