"""Lookup of secrets, filters, lists, folders, names across environments, stars."""
