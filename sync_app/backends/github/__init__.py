"""Secrets of GitHub Actions as backend."""
