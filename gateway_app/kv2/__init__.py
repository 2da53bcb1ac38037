"""The KV v2-compatible API under /vault/v1: what clients of Vault and OpenBao ask, answered from Keeper."""
