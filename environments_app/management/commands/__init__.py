"""The commands of environments_app."""
