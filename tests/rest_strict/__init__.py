"""Strict stand-ins of systems with a JSON API, built from their public documentation."""
