"""Accounts: lookup, passwords, preferences, suspensions."""
