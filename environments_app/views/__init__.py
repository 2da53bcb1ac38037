"""Pages: sign-in, profile, environments, members, tokens, approvals, audit log."""
