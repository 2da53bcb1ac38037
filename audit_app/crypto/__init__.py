"""Pure functions over bytes: canonical JSON, the hash chain, checkpoint statements."""
