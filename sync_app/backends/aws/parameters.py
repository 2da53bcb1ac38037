"""Parses parameters of Parameter Store, and judges their names."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sync_app.backends.numbered_versions import format_version
from sync_app.backends.observations import SecretMetadata
from sync_app.domain.reconciliation import Presence

# PutParameter, "Name".
MAX_NAME_LENGTH: Final = 1011
MAX_LEVELS: Final = 15
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_.-]+")
_RESERVED: Final = ("aws", "ssm")


def explain_bad_name(path: str) -> str:
    """Return why Parameter Store takes no parameter of this full name; empty if it does."""
    segments = path.removeprefix("/").split("/")
    if not all(map(_SEGMENT.fullmatch, segments)):
        return "Parameter Store takes only letters, digits and _.- between slashes: rename the secret"
    if len(segments) > MAX_LEVELS:
        return f"Parameter Store takes {MAX_LEVELS} levels between slashes at most: rename the secret"
    if len(path) > MAX_NAME_LENGTH:
        return f"name and prefix are longer than the {MAX_NAME_LENGTH:,} characters of Parameter Store"
    if segments[0].lower().startswith(_RESERVED):
        return "Parameter Store reserves names that begin with aws or ssm: choose another prefix"
    return ""


def parse_parameter(name: str, entry: Mapping[str, Any]) -> SecretMetadata:
    """Parse a parameter without its tags; its number alone is used again after a deletion."""
    changed: datetime = entry["LastModifiedDate"]
    return SecretMetadata(
        name=name,
        presence=Presence.PRESENT,
        remote_id=entry["Name"],
        version=format_version(int(entry["Version"]), f"{changed.timestamp():.3f}"),
    )
