"""Reading of settings from the environment."""
