"""The Django admin of people and access."""

from environments_app.admin import access, access_acts, trusts

__all__ = ["access", "trusts"]

access_acts.register()
trusts.register()
