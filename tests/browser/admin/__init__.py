"""Operators in the Django admin."""
