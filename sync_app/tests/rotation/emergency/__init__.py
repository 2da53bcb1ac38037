"""Emergencies, and logins that are left valid."""
