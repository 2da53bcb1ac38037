"""How people and programs sign in: accounts, sessions, service tokens, and single sign-on by SAML 2.0.

Single sign-on is on if the identity provider's metadata is configured.
"""

from core.config.variables import Group, read_or_create
from keeper_project.settings.installation import KEEPER_DATA_DIR
from keeper_project.startup import okta_metadata_url

AUTH_USER_MODEL = "environments_app.User"
AUTHENTICATION_BACKENDS = ["environments_app.users.password_backend.LocalBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "dashboard"
LOGOUT_REDIRECT_URL = "sign-in"

_sessions = Group("Sessions", page="sign-in.md")
SESSION_COOKIE_AGE = _sessions.whole(
    "SESSION_COOKIE_AGE", 8 * 3600, unit="seconds", help="Longest duration of a session."
)
KEEPER_SESSION_IDLE_SECONDS = _sessions.whole(
    "KEEPER_SESSION_IDLE_SECONDS",
    3600,
    unit="seconds",
    help="A session without a request ends after this time.",
)
KEEPER_REAUTH_SECONDS = _sessions.whole(
    "KEEPER_REAUTH_SECONDS",
    900,
    unit="seconds",
    help="Sensitive actions (issue a token, export an environment, break-glass access) ask for the "
    "password or "
    "single sign-on again if the last proof is older than this.",
)
KEEPER_REQUIRE_ADMIN_MFA = _sessions.switch(
    "KEEPER_REQUIRE_ADMIN_MFA",
    default=False,
    help="Administrators and auditors who sign in with a password must set up two-factor authentication "
    "before anything else.",
)
KEEPER_PASSWORD_RESET = _sessions.switch(
    "KEEPER_PASSWORD_RESET",
    default=True,
    help="People who confirmed their address can reset a forgotten password by e-mail. Needs KEEPER_URL and "
    "EMAIL_HOST.",
)
# The session table stores an HMAC of the id in the cookie: a row opens no session.
SESSION_ENGINE = "environments_app.sessions.store"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
# A cookie of its own: a token in the session would store a session for every visitor of the sign-in page.
CSRF_USE_SESSIONS = False
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "keeper_project.http.errors.csrf_failure"

_tokens = Group("Service tokens", page="tokens.md")
KEEPER_TOKEN_PEPPERS = _tokens.several(
    "KEEPER_TOKEN_PEPPERS",
    unset="one that Keeper creates in KEEPER_DATA_DIR",
    help="Keys that hash service tokens, as id:secret pairs. The first one hashes new tokens, the others "
    "verify "
    "old ones. The same on every machine.",
) or ["local:" + read_or_create(KEEPER_DATA_DIR / "token_pepper")]
KEEPER_TOKEN_DEFAULT_DAYS = _tokens.whole(
    "KEEPER_TOKEN_DEFAULT_DAYS", 90, unit="days", help="Lifetime of a new token, if the issuer names none."
)
KEEPER_TOKEN_MAX_DAYS = _tokens.whole(
    "KEEPER_TOKEN_MAX_DAYS", 0, unit="days", help="Longest lifetime of a token. 0 sets no limit."
)
KEEPER_TOKEN_REQUESTS_PER_MINUTE = _tokens.whole(
    "KEEPER_TOKEN_REQUESTS_PER_MINUTE",
    30_000,
    unit="requests a minute",
    help="Requests of one token to one process before it gets 429 until the next minute. 0 sets no limit.",
)
KEEPER_TRUST_MAX_TOKENS = _tokens.whole(
    "KEEPER_TRUST_MAX_TOKENS",
    5_000,
    unit="tokens",
    help="Valid tokens that one trust may have issued. At the limit sign-ins get 429; 80 % raises an alert.",
)
KEEPER_TOKEN_WARNING_DAYS = _tokens.whole(
    "KEEPER_TOKEN_WARNING_DAYS",
    14,
    unit="days",
    help="Time before a token expires at which an alert is sent.",
)
KEEPER_TOKEN_UNUSED_DAYS = _tokens.whole(
    "KEEPER_TOKEN_UNUSED_DAYS", 90, unit="days", help="Time without a use after which an alert is sent."
)


_saml = Group("Single sign-on", page="sign-in.md")
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
