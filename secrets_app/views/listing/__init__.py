"""The list of secrets: rows, folders, filters, counts."""
