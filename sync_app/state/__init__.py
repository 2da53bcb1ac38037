"""State of both sides: local secrets, ownership, references."""
