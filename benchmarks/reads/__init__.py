"""Reads of values."""
