"""Django's SQLite backend, reading on past a row that somebody has spoilt (DATABASES ENGINE)."""
