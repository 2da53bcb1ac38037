"""People from their sign-in to the day they leave."""
