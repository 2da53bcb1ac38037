"""Signed JWTs, judged by pure rules: documents, claims, keys; imports no Django."""
