"""The readable description of a backup: its deployment, the keys it needs, its content."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

import orjson

from audit_app.crypto.canonical_json import canonical_json
from keeper_project.backup.errors import Malformed

FORMAT: Final = "keeper-backup"
VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class FileKey:
    """The key of the file as the installation's key provider wraps it."""

    provider: str
    key_uri: str
    context: Mapping[str, str]
    wrapped: bytes


@dataclass(frozen=True, kw_only=True)
class NeededKey:
    """A key encryption key that values of the backup need, and how many data keys it wraps."""

    provider: str
    key_uri: str
    data_keys: int


@dataclass(frozen=True, kw_only=True)
class Head:
    """Where a stream of the audit log ended."""

    sequence: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The readable head of a backup; it is bound to the key and the signature of what follows.

    `migrations` names the state of the tables, `counts` the rows of each model, `anchor` the newest
    checkpoint (number and digest), None where there was none.
    """

    backup: UUID
    deployment: UUID
    made_at: str
    database: str
    migrations: list[str]
    file_key: FileKey
    keys: list[NeededKey]
    counts: dict[str, int]
    heads: dict[str, Head]
    anchor: dict[str, Any] | None

    def to_bytes(self) -> bytes:
        """Return the manifest as stored in the file: canonical JSON."""
        body = asdict(self)
        body |= {"backup": str(self.backup), "deployment": str(self.deployment)}
        body["file_key"]["wrapped"] = b64encode(self.file_key.wrapped).decode()
        return canonical_json({"format": FORMAT, "version": VERSION, **body})

    @classmethod
    def from_bytes(cls, content: bytes) -> "Manifest":
        """Return the manifest that a file begins with.

        Raises Malformed if it is none of this format. Nothing in it is proved before the rest of the
        file was read.
        """
        try:
            body = orjson.loads(content)
            if (body.pop("format"), body.pop("version")) != (FORMAT, VERSION):
                raise Malformed("the file is no backup of a format that this release knows")
            file_key = body.pop("file_key")
            return cls(
                backup=UUID(body.pop("backup")),
                deployment=UUID(body.pop("deployment")),
                file_key=FileKey(**{**file_key, "wrapped": b64decode(file_key["wrapped"], validate=True)}),
                keys=[NeededKey(**key) for key in body.pop("keys")],
                heads={stream: Head(**head) for stream, head in body.pop("heads").items()},
                **body,
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # ValueError covers broken JSON, base64 and uuids.
            raise Malformed("the file does not begin as a backup does") from error
