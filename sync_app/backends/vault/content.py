"""Values and metadata in Vault: an object with the one key `value`, or the members of a JSON object."""

import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from sync_app.backends.objects import (
    includes,
    objects_equal,
    parse_object,
    refuse_inexact_numbers,
    render_object,
)
from sync_app.backends.observations import SecretMetadata, format_version, parse_mark
from sync_app.domain.reconciliation import Presence

Content = Mapping[str, Any]
FIELD: Final = "value"
# Before a content that is kept as JSON; a text of a secret never begins with it.
_KEPT: Final = "\0"


class Objects(StrEnum):
    """What a target's rule makes of a JSON object."""

    # Each member becomes a key of the secret in Vault, which has no others.
    KEYS = "keys"
    # The same, and keys of other writers stay.
    MERGE = "merge"
    # The whole document is one text under `value`.
    VALUE = "value"


def to_content(value: str, rule: Objects) -> Content:
    """Return what a value is in Vault by a rule.

    An object whose only member is a text `value` stays one text, or it would be read as that text. Raises
    ValueUnusable for a number that Vault would round.
    """
    members = None if rule is Objects.VALUE else parse_object(value)
    if members is None or _only_text(members) is not None:
        return {FIELD: value}
    refuse_inexact_numbers(value)
    return members


def to_text(content: Content) -> str:
    """Return the value that a content stands for: the one text under `value`, or a JSON object.

    Raises ValueUnusable for a number that was rounded.
    """
    text = _only_text(content)
    return render_object(dict(content)) if text is None else text


def values_equal(local: str, remote: str, rule: Objects) -> bool:
    """Return whether a value that was read, `remote`, is what Keeper's value is by a rule."""
    if rule is Objects.MERGE:
        return includes(_members_of(remote), _members_of(local))
    if hmac.compare_digest(local.encode(), remote.encode()):
        return True
    ours, theirs = parse_object(local), parse_object(remote)
    return rule is Objects.KEYS and ours is not None and theirs is not None and objects_equal(ours, theirs)


def keep(content: Content) -> str:
    """Return a content as a text that `to_kept_content` reads back, key by key."""
    return _KEPT + orjson.dumps(content).decode()


def to_kept_content(kept: str) -> Content:
    """Return the content that was kept, also by an earlier Keeper, which kept the one text."""
    if not kept.startswith(_KEPT):
        return {FIELD: kept}
    content: Content = orjson.loads(kept.removeprefix(_KEPT))
    return content


def _members_of(value: str) -> dict[str, Any]:
    members = parse_object(value)
    return {FIELD: value} if members is None or _only_text(members) is not None else members


def _only_text(content: Content) -> str | None:
    text = content.get(FIELD)
    return text if set(content) == {FIELD} and isinstance(text, str) else None


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
