"""Who has seen which value."""
