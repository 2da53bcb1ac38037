"""Parses the metadata of Vault."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sync_app.backends.numbered_versions import format_version
from sync_app.backends.observations import SecretMetadata, parse_mark
from sync_app.domain.reconciliation import Presence


def parse_metadata(name: str, metadata: Mapping[str, Any], *, now: Callable[[], datetime]) -> SecretMetadata:
    """Parse the metadata of a name's newest version; `now` returns the server's time."""
    number = metadata["current_version"]
    versions = metadata["versions"]
    version, before = versions.get(str(number)), versions.get(str(number - 1))
    if version is None:
        # Marked, and not written yet.
        presence = Presence.ABSENT
    elif version["destroyed"] or _is_past(version["deletion_time"], now):
        presence = Presence.DELETED
    else:
        presence = Presence.PRESENT
    return SecretMetadata(
        name=name,
        presence=presence,
        remote_id=metadata["created_time"],
        version=format_version(number, version["created_time"]) if version else "",
        mark=parse_mark(metadata.get("custom_metadata") or {}),
        previous_version=format_version(number - 1, before["created_time"]) if before else "",
        expired=presence is Presence.DELETED and has_version_expiry(metadata),
        max_versions=metadata.get("max_versions") or 0,
    )


def has_version_expiry(settings: Mapping[str, Any]) -> bool:
    """Return whether a secret's or a mount's settings delete each version after a time."""
    return (settings.get("delete_version_after") or "0s") != "0s"


def _is_past(time: str, now: Callable[[], datetime]) -> bool:
    """Return whether a time of Vault (RFC 3339 with nanoseconds, empty for never) is over."""
    return bool(time) and datetime.fromisoformat(time[:19]).replace(tzinfo=UTC) <= now()


def key_before(key: str) -> str:
    """Return a text that sorts before a key and, in all likelihood, after every other one before it."""
    return f"{key[:-1]}{chr(ord(key[-1]) - 1)}~"
