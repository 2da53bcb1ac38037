"""The keys of the trail, injected from above by KEEPER_KEYRING."""

import threading
from enum import StrEnum
from typing import Protocol, cast

from django.conf import settings
from django.utils.module_loading import import_string

from audit_app.errors import KeyringUnavailable

__all__ = ["Keyring", "KeyringUnavailable", "Purpose", "forget_keyring", "keyring"]


class Purpose(StrEnum):
    """What a system key is for; a key of one purpose never serves another."""

    AUDIT_MAC = "audit-mac"
    ROW_MAC = "row-mac"
    FINGERPRINT = "fingerprint"
    CHECKPOINT = "checkpoint-signing"


class Keyring(Protocol):
    """Holds the system keys, opened once and pinned for the life of the process."""

    def mac(self, purpose: Purpose, message: bytes) -> bytes:
        """Return the tag of a message, 48 bytes: key uuid 16 | HMAC-SHA256 32.

        Raises KeyringUnavailable if the key cannot be opened.
        """
        ...

    def verify(self, purpose: Purpose, message: bytes, tag: bytes) -> bool:
        """Say in constant time whether a tag is right; an unknown key or a bad length is not.

        Raises KeyringUnavailable if the keys cannot be opened.
        """
        ...

    def open_all(self) -> None:
        """Open every key now; a process that cannot is not ready.

        Raises KeyringUnavailable if one cannot be opened.
        """
        ...


_lock = threading.Lock()
_instance: Keyring | None = None


def keyring() -> Keyring:
    """Return the one keyring of this process, an instance of settings.KEEPER_KEYRING."""
    global _instance  # noqa: PLW0603 - one a process is the point
    if _instance is None:
        with _lock:
            if _instance is None:
                _instance = cast("Keyring", import_string(settings.KEEPER_KEYRING)())
    return _instance


def forget_keyring() -> None:
    """Drop the process's keyring, so that the next use makes it anew (for tests and key changes)."""
    global _instance  # noqa: PLW0603 - one a process is the point
    _instance = None
