"""Rows of secrets: stored, read and proved, singly and in bulk."""
