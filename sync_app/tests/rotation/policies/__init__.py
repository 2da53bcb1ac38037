"""Policies: who sets them, when they are due, and no way around them."""
