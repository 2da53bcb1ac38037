"""Lookup of secrets, filters, lists, folders."""
