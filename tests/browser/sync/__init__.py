"""Pages of sync and rotation."""
