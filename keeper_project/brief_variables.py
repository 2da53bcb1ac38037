"""Variables of Keeper's first description that now have another name, or no meaning.

Those that keep their name (SECRET_KEY, DATABASE_URL, KMS_KEY_ID, …) are read in settings.py.
"""

from collections.abc import Iterator, Mapping
from typing import Final

_SAML: Final = "Sign-in by SAML has neither a client id nor a client secret, so it is ignored."
_VAULT: Final = "Vault is a sync target, which keeps its address and its sealed credentials in Keeper."

RENAMED: Final[Mapping[str, str]] = {
    "FLASK_APP": "Keeper is started by `keeper run`.",
    "FLASK_DEBUG": "Set DEBUG=true instead.",
    "SQLALCHEMY_DATABASE_URI": "Set DATABASE_URL instead; it understands the same URL.",
    "PERMANENT_SESSION_LIFETIME": "Set SESSION_COOKIE_AGE (in seconds) instead.",
    "LOG_LEVEL": "Set KEEPER_LOG_LEVEL instead.",
    "LOG_FILE": "Set KEEPER_LOG_FILE instead.",
    "OKTA_ISSUER": _SAML,
    "OKTA_CLIENT_ID": _SAML,
    "OKTA_CLIENT_SECRET": _SAML,
    "VAULT_URL": _VAULT,
    "VAULT_TOKEN": _VAULT,
    "VAULT_MOUNT_POINT": _VAULT,
}


def unread(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the name of each set variable that Keeper does not read, and what to do instead.

    Values never appear: some are credentials.
    """
    for name, advice in RENAMED.items():
        if environment.get(name):
            yield name, advice
    if environment.get("FLASK_ENV", "production") not in {"", "production"}:
        yield "FLASK_ENV", "Set DEBUG=true for development; production needs nothing."
