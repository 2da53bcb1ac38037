"""Scanning for secrets."""
