"""Rotators: the systems whose credentials are rotated."""
