"""Commands of sync_app."""
