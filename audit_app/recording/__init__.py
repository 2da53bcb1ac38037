"""The one writer of the audit log."""
