"""Exports: formats, names in them, .env files."""
