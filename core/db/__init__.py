"""SQL below the ORM, columns and identities of rows, the database engines."""
