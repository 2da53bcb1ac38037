"""Django's SQLite backend, which continues to read past a corrupted row (DATABASES ENGINE)."""
