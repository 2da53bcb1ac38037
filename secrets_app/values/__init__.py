"""Values of a secret: names, metadata, versions, expiry."""
