"""The readable description of a backup: its deployment, the keys it needs, its content, its file key.

The key of the file is made and wrapped by the installation's key provider. Nothing else wraps it
(ADR 11): every value inside needs that provider anyway, so a second key would open names and history
to more people, and no value.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

import orjson
from django.conf import settings

from core.canonical_json import canonical_json
from operations_app.backup.errors import Altered, KeyMissing, Malformed
from secrets_app.envelope import NO_ENVIRONMENT
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable
from secrets_app.keys.providers.registry import provider, provider_named

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


PURPOSE: Final = "backup"


def new_file_key(*, deployment: UUID, backup: UUID) -> tuple[FileKey, bytes]:
    """Return a new key as the provider wraps it, and in the clear; may go over the network.

    Raises KeyMissing if the provider cannot be used now.
    """
    context = {**settings.KMS_ENCRYPTION_CONTEXT, **_context(deployment, backup)}
    try:
        keeper = provider()
        made = keeper.generate(key_uri=keeper.resolve("", fresh=True), context=context)
    except (KeyUnavailable, KeyRefused) as error:
        raise KeyMissing(str(error)) from error
    wrapped = FileKey(provider=keeper.name, key_uri=made.key_uri, context=context, wrapped=made.wrapped)
    return wrapped, made.plain


def open_file_key(key: FileKey, *, deployment: UUID, backup: UUID) -> bytes:
    """Return the key of a backup's file; may go over the network.

    Raises KeyMissing if the key that wraps it cannot be used here, Altered if the wrap was edited or is
    another backup's.
    """
    # What binds the key to this backup is computed again, and not believed.
    context = {**key.context, **_context(deployment, backup)}
    try:
        keeper = provider_named(key.provider)
        return keeper.unwrap(key_uri=key.key_uri, wrapped=key.wrapped, context=context)
    except EnvelopeError as error:
        raise Altered("the key of the backup's file was edited, or is that of another backup") from error
    except (KeyUnavailable, KeyRefused) as error:
        raise KeyMissing(f"the backup needs the key {key.key_uri} ({key.provider}): {error}") from error


def _context(deployment: UUID, backup: UUID) -> dict[str, str]:
    return {
        "keeper:deployment": str(deployment),
        "keeper:purpose": PURPOSE,
        "keeper:environment": str(NO_ENVIRONMENT),
        "keeper:data-key": str(backup),
    }
