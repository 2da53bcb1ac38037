"""Signing in, and where tokens are stored."""
