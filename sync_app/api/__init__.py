"""The API of sync: targets, plans and runs."""
