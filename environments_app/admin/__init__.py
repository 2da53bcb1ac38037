"""The Django admin of people and access."""

from environments_app.admin import access, access_acts, saml_acts, trusts

__all__ = ["access", "trusts"]

access_acts.register()
saml_acts.register()
trusts.register()
