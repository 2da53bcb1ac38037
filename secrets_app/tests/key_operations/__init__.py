"""Replacing keys, and looking at them."""
