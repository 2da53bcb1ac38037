"""Pages of a user's own account: sign-in, second factor, sessions, profile."""
