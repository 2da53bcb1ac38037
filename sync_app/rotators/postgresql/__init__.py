"""PostgreSQL as rotator."""
