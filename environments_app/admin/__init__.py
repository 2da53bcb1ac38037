"""The Django admin of people and access."""

from environments_app.admin import access, access_acts, requests, saml_acts, trusts, users

__all__ = ["access", "requests", "trusts", "users"]

access_acts.register()
saml_acts.register()
