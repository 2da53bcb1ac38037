"""What only Vault's versions and objects can do to a pass."""
