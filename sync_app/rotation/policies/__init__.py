"""Rotation policies: service, approval, credentials, write guard."""
