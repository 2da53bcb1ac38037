"""Single sign-on by SAML 2.0, which is on if the identity provider's metadata is configured."""

from keeper_project.config.startup_checks import okta_metadata_url
from keeper_project.config.variables import Group
from keeper_project.settings.installation import KEEPER_DATA_DIR

_saml = Group("Single sign-on", page="sso.md")
KEEPER_SAML_METADATA_FILE = _saml.text(
    "KEEPER_SAML_METADATA_FILE", help="File with the identity provider's metadata. Turns single sign-on on."
)
KEEPER_SAML_METADATA_URL = _saml.text(
    "KEEPER_SAML_METADATA_URL",
    help="Address of the identity provider's metadata, fetched hourly. Turns single sign-on on.",
) or okta_metadata_url(
    issuer=_saml.text(
        "OKTA_ISSUER", help="Okta's address. With OKTA_CLIENT_ID it replaces KEEPER_SAML_METADATA_URL."
    ),
    app=_saml.text("OKTA_CLIENT_ID", help="Id of the app in the address of Okta's metadata (exk...)."),
)
KEEPER_SAML = bool(KEEPER_SAML_METADATA_FILE or KEEPER_SAML_METADATA_URL)
KEEPER_SAML_ENTITY_ID = _saml.text(
    "KEEPER_SAML_ENTITY_ID",
    unset="KEEPER_URL/saml/metadata",
    help="Keeper's name for the identity provider.",
)
KEEPER_SAML_IDP_ENTITY_ID = _saml.text(
    "KEEPER_SAML_IDP_ENTITY_ID", help="The provider to trust, if the metadata names several."
)
KEEPER_SAML_USERNAME_ATTRIBUTE = _saml.text(
    "KEEPER_SAML_USERNAME_ATTRIBUTE", unset="the NameID", help="Attribute with the username."
)
KEEPER_SAML_EMAIL_ATTRIBUTE = _saml.text(
    "KEEPER_SAML_EMAIL_ATTRIBUTE", "email", help="Attribute with the e-mail address."
)
KEEPER_SAML_NAME_ATTRIBUTE = _saml.text(
    "KEEPER_SAML_NAME_ATTRIBUTE", "displayName", help="Attribute with the full name."
)
KEEPER_SAML_GROUPS_ATTRIBUTE = _saml.text(
    "KEEPER_SAML_GROUPS_ATTRIBUTE", "groups", help="Attribute with the groups."
)
KEEPER_SAML_CREATE_USERS = _saml.switch(
    "KEEPER_SAML_CREATE_USERS",
    default=True,
    help="Creates an account at the first sign-in. It has no rights until access is granted.",
)
KEEPER_SAML_CLOCK_SKEW_SECONDS = _saml.whole(
    "KEEPER_SAML_CLOCK_SKEW_SECONDS",
    60,
    unit="seconds",
    help="Allowed difference between the clocks, at most 300.",
)
KEEPER_SAML_KEY_FILE = _saml.text(
    "KEEPER_SAML_KEY_FILE",
    unset="saml.key in KEEPER_DATA_DIR, created when it is first needed",
    help="Private key that signs requests, as PEM. The same on every machine.",
) or str(KEEPER_DATA_DIR / "saml.key")
KEEPER_SAML_CERTIFICATE_FILE = _saml.text(
    "KEEPER_SAML_CERTIFICATE_FILE",
    unset="saml.crt in KEEPER_DATA_DIR, created when it is first needed",
    help="Certificate of that key, as PEM.",
) or str(KEEPER_DATA_DIR / "saml.crt")

# Settings of djangosaml2: the configuration, the binding of requests, and no change of the security policy.
SAML_CONFIG_LOADER = "environments_app.saml.configuration.load"
SAML_DEFAULT_BINDING = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
SAML_CSP_HANDLER = ""
