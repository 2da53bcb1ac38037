"""Sources: the systems that secrets are carried from."""
