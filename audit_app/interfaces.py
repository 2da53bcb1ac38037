"""What higher apps inject into the audit log: keyring, access policy, alerts.

settings.KEEPER_KEYRING names the keys of the audit log. settings.KEEPER_AUDIT_ACCESS_POLICY decides who may
read which streams. settings.KEEPER_AUDIT_ALERTS takes alerts about the audit log itself.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, cast
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.utils.module_loading import import_string

from audit_app.errors import KeyringUnavailable
from audit_app.events.actors import Actor


class AuditLogPolicy(Protocol):
    """Decides what an actor may read of the audit log."""

    def readable_streams(self, actor: Actor) -> list[str] | None:
        """Return the streams that the actor may read, or None for all of them."""
        ...

    def own_events(self, actor: Actor) -> Q:
        """Return the condition on events of the actor's own acts: those that the actor may read."""
        ...

    def named_streams(self, actor: Actor) -> Mapping[str, str]:
        """Return the streams of the environments that the actor may read, by the environment's name."""
        ...


def audit_log_policy() -> AuditLogPolicy:
    """Return an instance of settings.KEEPER_AUDIT_ACCESS_POLICY."""
    return cast("AuditLogPolicy", import_string(settings.KEEPER_AUDIT_ACCESS_POLICY)())


def viewer_of(request: Any) -> Actor:
    """Return who makes a request, as the middleware above left it on the request."""
    principal: Actor = request.principal
    return principal


class AuditLogAlerts(Protocol):
    """Raises and ends alerts; `kind` names the subject in one word."""

    def raised(self, *, kind: str, subject: str, lines: Sequence[str]) -> None:
        """Notify operators of a condition, once."""
        ...

    def over(self, *, kind: str, subject: str) -> None:
        """Notify the same recipients that the condition has ended."""
        ...


def audit_log_alerts() -> AuditLogAlerts:
    """Return an instance of settings.KEEPER_AUDIT_ALERTS."""
    return cast("AuditLogAlerts", import_string(settings.KEEPER_AUDIT_ALERTS)())


__all__ = ["Keyring", "KeyringUnavailable", "Place", "Purpose", "Signature", "forget_keyring", "keyring"]


class Purpose(StrEnum):
    """What a system key is for; a key of one purpose never serves another."""

    AUDIT_MAC = "audit-mac"
    ROW_MAC = "row-mac"
    FINGERPRINT = "fingerprint"
    CHECKPOINT = "checkpoint-signing"
    SECOND_FACTOR = "second-factor"
    TOKEN_SESSION = "token-session"  # noqa: S105 - a purpose, no password


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an envelope under a system key belongs: a frozen label, its row, and whose row that is."""

    label: str
    row: UUID
    owner: UUID


class Signature(NamedTuple):
    """An Ed25519 signature, and the key that made it."""

    key_id: UUID
    public_key: bytes
    signature: bytes


class Keyring(Protocol):
    """Holds the system keys, opened once and pinned for the life of the process."""

    def mac(self, purpose: Purpose, message: bytes) -> bytes:
        """Return the tag of a message, 48 bytes: key uuid 16 | HMAC-SHA256 32.

        Raises KeyringUnavailable if the key cannot be opened.
        """
        ...

    def verify(self, purpose: Purpose, message: bytes, tag: bytes) -> bool:
        """Return, in constant time, whether a tag is valid; one of an unknown key or bad length is not.

        Raises KeyringUnavailable if the keys cannot be opened.
        """
        ...

    @property
    def is_at_hand(self) -> bool:
        """Whether the keys are open, and no look for replaced ones is due: then they take no time."""
        ...

    def verify_held(self, purpose: Purpose, message: bytes, tag: bytes) -> bool:
        """Return what `verify` does under the keys that are open; one of another key is not valid.

        Opens no key and asks no database.
        """
        ...

    def verify_all(self, purpose: Purpose, tagged: Iterable[tuple[bytes, bytes]]) -> bool:
        """Return whether `verify` is true for every (message, tag); much faster for many.

        Raises KeyringUnavailable if the keys cannot be opened.
        """
        ...

    def sign(self, message: bytes, *, key_id: UUID | None = None) -> Signature:
        """Sign for a checkpoint with the active signing key, or with an older one that is named.

        Raises KeyringUnavailable if the key is not there or cannot be opened.
        """
        ...

    def public_key(self, key_id: UUID) -> bytes | None:
        """Return the public half of a signing key, or None; one that another process made is looked for.

        Raises KeyringUnavailable if the keys cannot be opened.
        """
        ...

    def public_keys(self) -> Mapping[UUID, bytes]:
        """Return the public half of every signing key, the retired ones too, 32 bytes each.

        Raises KeyringUnavailable if the keys cannot be opened.
        """
        ...

    def seal(self, purpose: Purpose, content: bytes, *, place: "Place") -> bytes:
        """Return the envelope of a few bytes, which opens in its place alone.

        For what has to open while the provider of keys is away. Raises KeyringUnavailable.
        """
        ...

    def open(self, purpose: Purpose, envelope: bytes, *, place: "Place") -> bytes:
        """Return what an envelope holds.

        Raises NotSealedHere if it was edited or belongs elsewhere, and KeyringUnavailable.
        """
        ...

    def refresh(self) -> None:
        """Open the keys that were made since the others were, and write under the newest.

        Raises KeyringUnavailable, or what the keys' provider or the database raises; what was open stays so.
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


def keep_keyring(instance: Keyring) -> None:
    """Let this process use a keyring that it has opened elsewhere: for a restore."""
    global _instance  # noqa: PLW0603 - one a process is the point
    _instance = instance


def forget_keyring() -> None:
    """Drop the process's keyring, so that the next use makes it again (for tests and key changes)."""
    global _instance  # noqa: PLW0603 - one a process is the point
    _instance = None
