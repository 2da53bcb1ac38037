"""Keys: data keys, the system keyring, encrypted columns, fingerprints."""
