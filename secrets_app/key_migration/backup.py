"""The backup of a migration: every data key as the key file wraps it, authenticated, with no key in it."""

import hashlib
import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from audit_app.crypto.canonical_json import Json, canonical_json, utc_text
from audit_app.durable import sync_folder
from audit_app.interfaces.keyring import Purpose, keyring
from audit_app.models import deployment_uuid
from secrets_app.errors import MigrationRefused
from secrets_app.keys.wrapping import LOCAL, WrappedKey, fallback_wrap, primary_wrap
from secrets_app.models import DataKey

_FORMAT: Final = "keeper-key-backup"
_VERSION: Final = 1
_LABEL: Final = b"keeper/key-backup/v1|"
_BODY: Final = {"format", "version", "deployment", "migration", "made_at", "data_keys"}


@dataclass(frozen=True, kw_only=True)
class Written:
    """A backup that is safely on disk: where, its SHA-256, and how many data keys it holds."""

    path: Path
    digest: str
    data_keys: int


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A backup as it was read; nothing in it is believed before `require_genuine`."""

    body: Mapping[str, Any]
    tag: bytes
    migration: UUID
    wraps: Mapping[UUID, WrappedKey]

    def require_genuine(self) -> None:
        """Raise MigrationRefused unless this installation wrote the file just so."""
        if not keyring().verify(Purpose.AUDIT_MAC, _message(self.body), self.tag):
            raise MigrationRefused("the backup was edited, or not written by this installation")


def write_backup(migration: UUID) -> Written:
    """Write the backup of all data keys to a new file in KEEPER_DATA_DIR and wait for the disk."""
    entries = [_entry(row) for row in DataKey.objects.order_by("pk")]
    body: dict[str, Json] = {
        "format": _FORMAT,
        "version": _VERSION,
        "deployment": str(deployment_uuid()),
        "migration": str(migration),
        "made_at": utc_text(timezone.now()),
        "data_keys": [*entries],
    }
    tag = keyring().mac(Purpose.AUDIT_MAC, _message(body)).hex()
    content = json.dumps({**body, "mac": tag}, indent=1).encode()
    at = timezone.now().strftime("%Y%m%dT%H%M%S")
    path = Path(settings.KEEPER_DATA_DIR) / f"key-backup-{at}-{secrets.token_hex(4)}.json"
    _store(path, content)
    return Written(path=path, digest=hashlib.sha256(content).hexdigest(), data_keys=len(entries))


def read_backup(path: Path) -> Backup:
    """Return a backup of this installation, whose tag is yet to be checked.

    Raises MigrationRefused if the file cannot be read, is not whole, or is another deployment's.
    """
    try:
        content = json.loads(path.read_bytes())
        tag = bytes.fromhex(content.pop("mac"))
        if content.keys() != _BODY or (content["format"], content["version"]) != (_FORMAT, _VERSION):
            raise MigrationRefused("the file is no backup of keys that this release knows")
        deployment, migration = UUID(content["deployment"]), UUID(content["migration"])
        wraps = dict(map(_wrap, content["data_keys"]))
    except OSError as error:
        raise MigrationRefused(f"the backup cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # ValueError covers broken JSON, hexadecimal, base64 and uuids.
        raise MigrationRefused("the backup is not whole: it was cut off or edited") from error
    if deployment != deployment_uuid():
        raise MigrationRefused(f"the backup is of another deployment ({deployment})")
    return Backup(body=content, tag=tag, migration=migration, wraps=wraps)


def _entry(row: DataKey) -> dict[str, Json]:
    other = fallback_wrap(row)
    wrap = other if other and other.provider == LOCAL else primary_wrap(row)
    return {
        "uuid": str(row.uuid),
        "provider": wrap.provider,
        "key_uri": wrap.key_uri,
        "wrapped_key": b64encode(wrap.wrapped).decode(),
    }


def _wrap(entry: Mapping[str, str]) -> tuple[UUID, WrappedKey]:
    wrapped = b64decode(entry["wrapped_key"], validate=True)
    wrap = WrappedKey(provider=str(entry["provider"]), key_uri=str(entry["key_uri"]), wrapped=wrapped)
    return UUID(entry["uuid"]), wrap


def _message(body: Mapping[str, Json]) -> bytes:
    return _LABEL + canonical_json(dict(body))


def _store(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    sync_folder(path.parent)
