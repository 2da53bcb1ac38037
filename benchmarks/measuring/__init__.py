"""How it is measured: clients, turns, counts, the table."""
