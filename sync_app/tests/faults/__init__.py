"""What a wire and a system behind it may do to a write: each answer of the tables, and faults at random."""
