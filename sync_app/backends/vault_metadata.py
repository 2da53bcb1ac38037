"""Reads what Vault says about a secret besides its value."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sync_app.backends.base import Seen, mark_from
from sync_app.reconcile import Presence


def seen_in(name: str, metadata: Mapping[str, Any]) -> Seen:
    """Return what the metadata of a name says about its newest version."""
    number = metadata["current_version"]
    version = metadata["versions"].get(str(number))
    if version is None:
        # Marked, and not written yet.
        presence = Presence.ABSENT
    elif version["destroyed"] or _is_past(version["deletion_time"]):
        presence = Presence.DELETED
    else:
        presence = Presence.PRESENT
    return Seen(
        name=name,
        presence=presence,
        remote_id=metadata["created_time"],
        version=str(number) if version else "",
        mark=mark_from(metadata.get("custom_metadata") or {}),
    )


def _is_past(time: str) -> bool:
    """Say whether a time of Vault (RFC 3339 with nanoseconds, empty for never) is over."""
    return bool(time) and datetime.fromisoformat(time[:19]).replace(tzinfo=UTC) <= datetime.now(UTC)


def just_before(key: str) -> str:
    """Return a text that sorts before a key and, in all likelihood, after every other one before it."""
    return f"{key[:-1]}{chr(ord(key[-1]) - 1)}~"
