"""Sign-in, and sessions that end."""
