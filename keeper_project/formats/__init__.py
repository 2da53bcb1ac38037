"""How dates and times are written where Django formats them: in the admin."""
