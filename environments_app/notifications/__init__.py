"""Notifications: e-mail, recipients, operator alerts."""
