"""Writes, the audit log, and sealing anew."""
