"""Accounts: lookup, passwords, preferences, sessions, suspensions."""
