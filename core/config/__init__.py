"""Environment variables, declared and read."""
