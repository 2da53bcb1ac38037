"""The Django admin of people and access."""

from environments_app.admin import access, access_acts, requests, users

__all__ = ["access", "requests", "users"]

access_acts.register()
