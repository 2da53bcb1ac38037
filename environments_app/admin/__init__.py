"""The Django admin of people and access."""

from environments_app.admin import access, access_acts

__all__ = ["access"]

access_acts.register()
