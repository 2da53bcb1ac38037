"""How each kind is made."""
