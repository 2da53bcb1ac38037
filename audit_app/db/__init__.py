"""SQL below the ORM: bulk statements, raw reads, and the SQLite backend."""
