"""Parses the metadata of Secrets Manager."""

from collections.abc import Mapping
from typing import Any, Final

from sync_app.backends.base import Seen, mark_from
from sync_app.domain.reconciliation import Presence

CURRENT: Final = "AWSCURRENT"


def listed(name: str, entry: Mapping[str, Any]) -> Seen:
    """Parse an entry of ListSecrets."""
    return seen_in(name, entry, entry.get("SecretVersionsToStages", {}))


def seen_in(name: str, entry: Mapping[str, Any], stages: Mapping[str, Any]) -> Seen:
    """Parse a reply; `stages` are the labels of each version."""
    current = [version for version, labels in stages.items() if CURRENT in labels]
    tags = {tag["Key"]: tag["Value"] for tag in entry.get("Tags") or []}
    return Seen(
        name=name,
        presence=Presence.DELETED if entry.get("DeletedDate") else Presence.PRESENT,
        remote_id=entry["ARN"],
        version=current[0] if current else "",
        mark=mark_from(tags),
    )
