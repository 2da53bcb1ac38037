"""SQL below the ORM: prepared queries, bulk statements, raw reads, and the SQLite backend."""
