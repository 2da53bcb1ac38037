"""Sync targets: rules, destinations, credentials, lookup, alerts."""
