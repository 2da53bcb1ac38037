"""Generators of secret values."""
