"""Sign-in: the API's tokens, passwords, lockout, two-factor authentication."""
