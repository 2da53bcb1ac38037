"""Pages on which a person without a session gets a new password."""
