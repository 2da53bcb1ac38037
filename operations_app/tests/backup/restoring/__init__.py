"""Restoring a backup, and what waits afterwards."""
