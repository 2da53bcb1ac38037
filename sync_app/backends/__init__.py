"""Backends: the systems that secrets are synced to."""
