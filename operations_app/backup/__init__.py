"""Backups of everything that the database holds: written, proved, restored, and what a restore suspends."""
