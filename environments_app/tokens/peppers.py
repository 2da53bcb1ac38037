"""The peppers of service tokens: keys from the environment, each with an id."""

import hmac
import secrets
from functools import lru_cache
from typing import Any

from django.conf import settings

MIN_PEPPER_LENGTH = 32


def give_secret(row: Any) -> str:
    """Give a token, or a sign-in that becomes one, a new id, and return its new secret, kept as a hash."""
    secret = secrets.token_urlsafe(32)
    row.public_id, row.pepper_id = _new_public_id(), current_pepper_id()
    row.secret_hash = hash_secret(secret, pepper_id=row.pepper_id) or ""
    return secret


def _new_public_id() -> str:
    """Return an id that no command takes for an option, as `tokens revoke` or Vault's CLI would do."""
    while (found := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return found


def current_pepper_id() -> str:
    """Return the id of the pepper that hashes new tokens: the first one of the settings."""
    return next(iter(_peppers()))


def hash_secret(secret: str, *, pepper_id: str) -> str | None:
    """Return the hexadecimal HMAC-SHA256 of a token's secret; None if the pepper is gone."""
    pepper = _peppers().get(pepper_id)
    return hmac.digest(pepper, secret.encode(), "sha256").hex() if pepper else None


def _peppers() -> dict[str, bytes]:
    return _parsed(tuple(settings.KEEPER_TOKEN_PEPPERS))


@lru_cache(maxsize=4)
def _parsed(entries: tuple[str, ...]) -> dict[str, bytes]:
    """Return id to key, in the order of the settings (checks.py refuses malformed entries)."""
    pairs = (entry.partition(":") for entry in entries)
    return {pepper_id: pepper.encode() for pepper_id, _, pepper in pairs}
