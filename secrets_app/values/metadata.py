"""What is known about a secret besides its value: description, tags, owner, expiry."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypedDict

from django.utils import timezone

from secrets_app.errors import InvalidInput
from secrets_app.models import Secret
from secrets_app.values.names import validate_tags

MAX_DESCRIPTION: Final = 2000
MAX_OWNER: Final = 150
MAX_COMMENT: Final = 500


class Metadata(TypedDict, total=False):
    """The optional fields of every use case that writes a secret; what is left out is kept."""

    description: str
    tags: Sequence[str]
    owner: str
    expires_at: datetime | None
    # No column of its own: `secrets_app.persistence.references.resolve_on_write` sees to it.
    uses_references: bool


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
    expires_at = metadata.get("expires_at")
    if expires_at is not None and timezone.is_naive(expires_at):
        raise InvalidInput("expires_at", "Give the time zone along with the time.")
    return checked


def _bounded(field: str, text: str, limit: int) -> str:
    if len(text) > limit:
        raise InvalidInput(field, f"Use at most {limit} characters; this has {len(text)}.")
    if "\x00" in text:
        raise InvalidInput(field, "Remove the NUL character.")
    return text
