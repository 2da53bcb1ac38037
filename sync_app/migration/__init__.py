"""Migrations: secrets with their versions are carried here from another system."""
