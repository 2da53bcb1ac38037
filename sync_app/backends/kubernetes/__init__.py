"""Kubernetes Secrets as backend."""
