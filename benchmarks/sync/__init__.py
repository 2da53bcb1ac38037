"""Passes of the sync."""
