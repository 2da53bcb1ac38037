"""Vault KV v2 as backend."""
