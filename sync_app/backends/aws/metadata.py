"""Parses the metadata of Secrets Manager."""

from collections.abc import Mapping
from typing import Any, Final

from sync_app.backends.base import SecretMetadata, parse_mark
from sync_app.domain.reconciliation import Presence

CURRENT: Final = "AWSCURRENT"


def parse_list_entry(name: str, entry: Mapping[str, Any]) -> SecretMetadata:
    """Parse an entry of ListSecrets."""
    return parse_description(name, entry, entry.get("SecretVersionsToStages", {}))


def parse_description(name: str, entry: Mapping[str, Any], stages: Mapping[str, Any]) -> SecretMetadata:
    """Parse a reply; `stages` are the labels of each version."""
    current = [version for version, labels in stages.items() if CURRENT in labels]
    tags = {tag["Key"]: tag["Value"] for tag in entry.get("Tags") or []}
    return SecretMetadata(
        name=name,
        presence=Presence.DELETED if entry.get("DeletedDate") else Presence.PRESENT,
        remote_id=entry["ARN"],
        version=current[0] if current else "",
        mark=parse_mark(tags),
    )
