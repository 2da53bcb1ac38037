"""Secrets and variables of GitHub Actions as backend."""
