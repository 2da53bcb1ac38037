"""Parses the metadata of Vault."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sync_app.backends.base import VERSION_SEPARATOR, Seen, mark_from
from sync_app.domain.reconciliation import Presence


def seen_in(name: str, metadata: Mapping[str, Any], *, now: Callable[[], datetime]) -> Seen:
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
    return Seen(
        name=name,
        presence=presence,
        remote_id=metadata["created_time"],
        version=version_name(number, version["created_time"]) if version else "",
        mark=mark_from(metadata.get("custom_metadata") or {}),
        before=version_name(number - 1, before["created_time"]) if before else "",
        expired=presence is Presence.DELETED and expires(metadata),
        keeps=metadata.get("max_versions") or 0,
    )


def expires(settings: Mapping[str, Any]) -> bool:
    """Return whether a secret's or a mount's settings delete each version after a time."""
    return (settings.get("delete_version_after") or "0s") != "0s"


def version_name(number: int, created: str) -> str:
    """Return how Keeper names a version: a number alone is used again after a snapshot was restored."""
    return f"{number}{VERSION_SEPARATOR}{created}"


def number_of(version: str) -> int:
    """Return the number of a version, also of one that an earlier Keeper named by that alone; 0 for none."""
    number = version.partition(VERSION_SEPARATOR)[0]
    return int(number) if number.isdecimal() else 0


def _is_past(time: str, now: Callable[[], datetime]) -> bool:
    """Return whether a time of Vault (RFC 3339 with nanoseconds, empty for never) is over."""
    return bool(time) and datetime.fromisoformat(time[:19]).replace(tzinfo=UTC) <= now()


def just_before(key: str) -> str:
    """Return a text that sorts before a key and, in all likelihood, after every other one before it."""
    return f"{key[:-1]}{chr(ord(key[-1]) - 1)}~"
