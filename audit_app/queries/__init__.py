"""Search, statistics and reports over the audit log."""
