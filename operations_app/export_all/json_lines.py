"""The form `keeper-export/1`: JSON Lines, UTF-8 (docs/leaving-keeper.md).

A head, one line a secret followed by one line a version, and a tail with the counts and the SHA-256 of all
lines before it. A file without its tail is not whole.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

import orjson

from core.canonical_json import utc_text
from operations_app.export_all.reading import Version, Whole

FORMAT: Final = "keeper-export/1"
# Without its credential, and what it has done so far.
_OF_A_POLICY: Final = (
    "rotator", "settings", "endpoint", "interval_seconds", "cron", "window", "time_zone", "grace_seconds",
    "waits_for_consumers",
)  # fmt: skip


class Target(Protocol):
    """What takes bytes: a file, or what encrypts to one."""

    def write(self, data: bytes, /) -> object: ...


class JsonLines:
    """Writes the lines to a stream of bytes."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self._secrets = self._versions = 0

    def begin(
        self, *, deployment: UUID, at: datetime, environments: Sequence[str], every_version: bool
    ) -> None:
        self._write(
            {
                "format": FORMAT,
                "deployment": str(deployment),
                "at": utc_text(at),
                "environments": list(environments),
                "versions": "all" if every_version else "current",
            }
        )

    def add(self, whole: Whole) -> None:
        self._write(_secret(whole))
        for version in whole.versions:
            self._write(_version(whole, version))
        self._secrets += 1
        self._versions += len(whole.versions)

    def finish(self, left_out: Sequence[str]) -> None:
        """Write the tail; `left_out` names the secrets that could not be read."""
        self._write(
            {
                "end": True,
                "secrets": self._secrets,
                "versions": self._versions,
                "left_out": list(left_out),
                "sha256": self._hash.hexdigest(),
            }
        )

    def _write(self, line: dict[str, Any]) -> None:
        data = orjson.dumps(line) + b"\n"
        self._hash.update(data)
        self._target.write(data)


def _secret(whole: Whole) -> dict[str, Any]:
    secret = whole.secret
    return {
        "secret": str(secret.uuid),
        "environment": secret.environment.name,
        "name": secret.name,
        "type": secret.secret_type,
        "description": secret.description,
        "tags": list(secret.tags),
        "owner": secret.owner,
        "expires_at": _time(secret.expires_at),
        "rotation_due_at": _time(secret.rotation_due_at),
        "rotation": whole.policy and {name: getattr(whole.policy, name) for name in _OF_A_POLICY},
        "current": secret.current_number,
        "previous": secret.previous_number,
        "references": secret.uses_references,
        "custom_metadata": secret.custom_metadata,
        "max_versions": secret.max_versions,
        "cas_required": secret.cas_required,
        "etag": secret.state,
    }


def _version(whole: Whole, version: Version) -> dict[str, Any]:
    row, origin = version.row, version.origin
    return {
        "version": str(row.uuid),
        "secret": str(whole.secret.uuid),
        "number": row.number,
        "value": version.value,
        "state": version.state or "readable",
        "deleted_at": _time(version.deleted_at),
        "author": row.author,
        "written": _time(row.created_at),
        "comment": row.comment,
        "origin": origin
        and {
            "system": origin.system,
            "place": origin.place,
            "path": origin.path,
            "number": origin.number,
            "id": origin.identifier,
            "author": origin.author,
            "written": _time(origin.written_at),
        },
    }


def _time(moment: datetime | None) -> str | None:
    return utc_text(moment) if moment else None
