"""Exports, as real readers read them."""
