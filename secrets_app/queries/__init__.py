"""Lookup of secrets, filters, folders."""
