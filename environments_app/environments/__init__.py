"""Environments, their memberships and groups."""
