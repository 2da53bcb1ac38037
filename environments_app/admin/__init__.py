"""The Django admin of people and access."""

from environments_app.admin import access

__all__ = ["access"]
