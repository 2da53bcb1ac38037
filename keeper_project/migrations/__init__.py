"""Migrations of the project: the tables of what it knows of other systems."""
