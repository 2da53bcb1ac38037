"""What is known about a secret besides its value: description, tags, owner, expiry.

The expiry of a certificate comes from the certificate itself, unless one was set. An expiry informs and
never blocks. One that is empty, or equals the end of the previous certificate, was not set by a user: it
moves with the value. Any other was set by a user and stays.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypedDict

from django.utils import timezone

from core.canonical_json import Json
from secrets_app.errors import InvalidInput
from secrets_app.models import Secret
from secrets_app.types.registry import Facts
from secrets_app.values.names import validate_tags

MAX_DESCRIPTION: Final = 2000
MAX_OWNER: Final = 150
MAX_COMMENT: Final = 500
# What Vault allows.
MAX_CUSTOM: Final = 64
MAX_CUSTOM_KEY: Final = 128
MAX_CUSTOM_TEXT: Final = 512


class Metadata(TypedDict, total=False):
    """The optional fields of every use case that writes a secret; what is left out is kept."""

    description: str
    tags: Sequence[str]
    owner: str
    expires_at: datetime | None
    # No column of its own: `secrets_app.rows.references.resolve_on_write` sees to it.
    uses_references: bool
    # What clients of KV v2 set.
    custom_metadata: dict[str, str] | None
    cas_required: bool
    max_versions: int
    metadata_version: int
    delete_version_after: int


def apply_metadata(secret: Secret, metadata: Metadata) -> list[str]:
    """Set the given fields on a secret, not yet saved, and return the names of those that changed.

    Raises InvalidInput naming the field if one is too long, or InvalidTag.
    """
    checked = checked_metadata(metadata)
    changed = sorted(name for name, value in checked.items() if getattr(secret, name) != value)
    for name in changed:
        setattr(secret, name, checked[name])
    # Tags that are given again confirm those that are stored without a valid MAC.
    if "tags" in changed or (checked.get("tags") and not secret.proves_tags()):
        secret.seal_tags()
        changed = sorted({*changed, "tags"})
    secret.refresh_search_text()
    return changed


def checked_comment(comment: str) -> str:
    """Return a version's comment. Raises InvalidInput if it is longer than 500 characters."""
    return _bounded("comment", comment, MAX_COMMENT)


def checked_metadata(metadata: Metadata) -> dict[str, Any]:
    """Return the given fields as a secret holds them. Raises InvalidInput naming one, or InvalidTag."""
    checked: dict[str, Any] = {name: value for name, value in metadata.items() if name != "uses_references"}
    if "description" in metadata:
        checked["description"] = _bounded("description", metadata["description"], MAX_DESCRIPTION)
    if "owner" in metadata:
        checked["owner"] = _bounded("owner", metadata["owner"].strip(), MAX_OWNER)
    if "tags" in metadata:
        checked["tags"] = validate_tags(list(metadata["tags"]))
    if custom := metadata.get("custom_metadata"):
        _check_custom(custom)
    expires_at = metadata.get("expires_at")
    if expires_at is not None and timezone.is_naive(expires_at):
        raise InvalidInput("expires_at", "Give the time zone along with the time.")
    return checked


def _check_custom(custom: dict[str, str]) -> None:
    if len(custom) > MAX_CUSTOM:
        raise InvalidInput("custom_metadata", f"Use at most {MAX_CUSTOM} keys; this has {len(custom)}.")
    for name, text in custom.items():
        if not 0 < len(name) <= MAX_CUSTOM_KEY or not name.isprintable():
            raise InvalidInput("custom_metadata", f"A key has 1 to {MAX_CUSTOM_KEY} printable characters.")
        if not 0 < len(text) <= MAX_CUSTOM_TEXT or not text.isprintable():
            raise InvalidInput("custom_metadata", f"A value has 1 to {MAX_CUSTOM_TEXT} printable characters.")


def _bounded(field: str, text: str, limit: int) -> str:
    if len(text) > limit:
        raise InvalidInput(field, f"Use at most {limit} characters; this has {len(text)}.")
    if "\x00" in text:
        raise InvalidInput(field, "Remove the NUL character.")
    return text


# UTCTime begins with 1950, and the last year stands for "no well-defined end" (RFC 5280, 4.1.2.5).
_FIRST_YEAR: Final = 1950
_NO_END: Final = 9999
_UNKNOWN: Final[Facts] = {}


def certificate_end(facts: object) -> datetime | None:
    """Return when the certificate ends that these facts describe, which is the leaf of its chain.

    None for another value, or a certificate without an end.
    """
    # What is stored may have been edited.
    not_after = facts.get("not_after") if isinstance(facts, dict) else None
    if not isinstance(not_after, str):
        return None
    try:
        end = datetime.fromisoformat(not_after)
    except ValueError:
        return None
    return end if _FIRST_YEAR <= end.year < _NO_END else None


def effective_expiry(stored: datetime | None, *, after: Facts, before: Facts = _UNKNOWN) -> datetime | None:
    """Return the expiry of a secret whose value was described by `before` and now is by `after`."""
    if stored is None or stored == certificate_end(before):
        return certificate_end(after)
    return stored


def apply_facts(secret: Secret, facts: Facts) -> dict[str, Json]:
    """Describe a secret, not yet saved, by its next value's facts, and return the details of the change."""
    expires_at = effective_expiry(secret.expires_at, after=facts, before=secret.facts)
    moved = expires_at != secret.expires_at
    secret.expires_at, secret.facts = expires_at, facts
    return {"fields": ["expires_at"]} if moved else {}


def apply_facts_keeping_expiry(secret: Secret, facts: Facts, *, metadata: Metadata, is_next: bool) -> None:
    """Describe a secret, not yet saved, by the facts of a value that came with this metadata, now set.

    A date that was given along counts, and one that was emptied along gives way to a certificate's own.
    Else the expiry moves only if the value `is_next`: an equal one changes nothing.
    """
    if metadata.get("expires_at") is None and (is_next or "expires_at" in metadata):
        apply_facts(secret, facts)
    else:
        secret.facts = facts
