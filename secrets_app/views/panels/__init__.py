"""Panels of secrets' pages."""
