"""Requests for temporary access: submit, approve, expire."""
