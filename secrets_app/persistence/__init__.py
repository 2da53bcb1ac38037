"""Rows of secrets: insert, update, verified reads, references."""
