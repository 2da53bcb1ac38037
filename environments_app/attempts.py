"""Limits how often passwords are tried: per address by the refusals, per account here."""

import hashlib
from typing import Final

from django.core.cache import cache

from audit_app.errors import TooManyRefusals

MAX_FAILURES: Final = 10
WINDOW_SECONDS: Final = 900


def check_account(username: str) -> None:
    """Turn an attempt away while the account is locked, whether or not it exists.

    Raises TooManyRefusals with the seconds until the lock ends at the latest.
    """
    if cache.get(_key(username), 0) >= MAX_FAILURES:
        raise TooManyRefusals(retry_after=WINDOW_SECONDS)


def note_failure(username: str) -> None:
    """Count a wrong password for an account."""
    key = _key(username)
    if cache.add(key, 1, timeout=WINDOW_SECONDS):
        return
    try:
        cache.incr(key)
    except ValueError:
        # The window closed in between.
        cache.set(key, 1, timeout=WINDOW_SECONDS)


def forget_failures(username: str) -> None:
    """Start counting anew after a right password."""
    cache.delete(_key(username))


def _key(username: str) -> str:
    # Hashed, since cache keys allow no arbitrary text.
    return f"environments_app.attempts.{hashlib.sha256(username.encode()).hexdigest()}"
