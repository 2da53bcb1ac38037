"""Management of people and tokens."""
