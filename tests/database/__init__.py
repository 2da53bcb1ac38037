"""The database: plans and counts of statements, collisions, edited rows."""
