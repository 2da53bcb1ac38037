"""The Django admin of people and access."""

from environments_app.admin import access, requests, users

__all__ = ["access", "requests", "users"]
