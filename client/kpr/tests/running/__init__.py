"""Commands run with values."""
