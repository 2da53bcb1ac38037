"""What labels of another system say about a secret: owner, description, expiry, tags. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from core.canonical_json import utc_text
from secrets_app.errors import InvalidInput
from secrets_app.values.metadata import MAX_DESCRIPTION, MAX_OWNER, Metadata
from secrets_app.values.names import MAX_TAGS, validate_tags

_OWNER: Final = ("owner", "team")
_DESCRIPTION: Final = ("description", "note")
_EXPIRY: Final = ("expires", "expiry")
# What an export of everything writes into a Vault (operations_app.export_all.vault).
_TAGS: Final = "keeper-tags"
_OURS: Final = "keeper-"


def described_by(labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a secret that labels give, as they are stored with the plan.

    What fits no field and no tag stays in the custom metadata, which has all labels.
    """
    found: dict[str, Any] = {}
    tags: list[str] = []
    for name, text in labels.items():
        key = name.lower()
        if key == _TAGS:
            tags += [tag for each in text.split(",") if (tag := _tag(each))][:MAX_TAGS]
        elif key.startswith(_OURS):
            continue
        elif key in _OWNER and len(text) <= MAX_OWNER and "owner" not in found:
            found["owner"] = text
        elif key in _DESCRIPTION and len(text) <= MAX_DESCRIPTION and "description" not in found:
            found["description"] = text
        elif key in _EXPIRY and (expiry := _moment(text)) is not None:
            found["expires_at"] = utc_text(expiry)
        elif len(tags) < MAX_TAGS and (tag := _tag(f"{key}:{text}" if text else key)):
            tags.append(tag)
    return {**found, **({"tags": sorted(set(tags))} if tags else {})}


def metadata_of(stored: Mapping[str, Any], labels: Mapping[str, str]) -> Metadata:
    """Return the fields of a secret from what a plan has stored, and the labels as custom metadata."""
    found = Metadata()
    for name in ("owner", "description", "tags"):
        if name in stored:
            found[name] = stored[name]
    if "expires_at" in stored:
        found["expires_at"] = datetime.fromisoformat(stored["expires_at"])
    if labels:
        found["custom_metadata"] = dict(labels)
    return found


def _tag(text: str) -> str:
    try:
        return validate_tags([text])[0]
    except InvalidInput:
        return ""


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None
