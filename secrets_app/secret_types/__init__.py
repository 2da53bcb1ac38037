"""The types of secrets: validation and derived facts."""
