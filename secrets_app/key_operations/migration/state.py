"""Begins and ends a migration of keys, reports what prevents it, and writes its backup.

The backup holds every data key as the key file wraps it, authenticated, with no key in it.
"""

import hashlib
import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.integrity.row_state import row_digest_entry
from audit_app.interfaces import Purpose, keyring
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.canonical_json import Json, canonical_json, utc_text
from core.files import sync_folder
from secrets_app.errors import MigrationRefused
from secrets_app.key_operations.reencrypt import legacy_rows
from secrets_app.keys.models import FINALISED
from secrets_app.keys.providers.registry import provider_named
from secrets_app.keys.wrapping import LOCAL, WrappedKey, fallback_wrap, primary_wrap
from secrets_app.models import DataKey, KeyMigration

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


_NO_OTHER: Final = {"other_provider": "", "other_key_uri": "", "other_wrapped_key": b""}


def require_both_providers() -> None:
    """Raise MigrationRefused unless this installation opens what either provider wraps."""
    if not settings.KEY_MIGRATION:
        raise MigrationRefused(
            "KEY_MIGRATION is off: set it to true, with the settings of both the key file and KMS, for every "
            "process, and restart them"
        )


def require_backend(name: str) -> None:
    """Raise MigrationRefused unless this process wraps new data keys by a provider."""
    if name != settings.KEY_MANAGEMENT_BACKEND:
        raise MigrationRefused(
            f"KEY_MANAGEMENT_BACKEND is {settings.KEY_MANAGEMENT_BACKEND}: set it to {name} for every "
            "process, and restart them, before this"
        )


def open_migration() -> KeyMigration | None:
    """Return the migration that is open. Raises MigrationRefused if Keeper did not write its row."""
    migration = KeyMigration.objects.filter(open=True).first()
    if migration is not None and not migration.is_authentic():
        raise MigrationRefused("the row of the open migration was not written by Keeper: restore it")
    return migration


def begin() -> tuple[KeyMigration, Written]:
    """Return the open migration, or a new one, and a backup that was written before it changes anything.

    Each is recorded. Raises MigrationRefused if data keys are under several key files, and
    KeyUnavailable if the key file is not theirs.
    """
    earlier = open_migration()
    migration = earlier or KeyMigration(uuid=uuid4(), local_key_uri=_local_key_uri())
    written = write_backup(migration.uuid)
    try:
        with transaction.atomic():
            if earlier is None:
                migration.save(force_insert=True)
            record_step(
                migration,
                Action.KEY_MIGRATION_START,
                {
                    "resumed": earlier is not None,
                    "backup": written.digest,
                    "data_keys": written.data_keys,
                    "local_key_uri": migration.local_key_uri,
                },
            )
    except IntegrityError:
        # Another run began in the meantime: this backup belongs to a migration that never was.
        written.path.unlink()
        return begin()
    return migration, written


def end(migration: KeyMigration, *, outcome: str, action: Action, provider: str) -> bool:
    """End a migration with its event and drop every other wrap; False if it is not time yet.

    It is time once `provider` wraps every data key. The lock keeps new data keys out in the meantime.
    Raises MigrationRefused if it ended in another way meanwhile.
    """
    with transaction.atomic():
        locked = KeyMigration.objects.select_for_update().filter(pk=migration.pk, open=True).first()
        if locked is None:
            # Another run with the same end was first.
            if not KeyMigration.objects.filter(pk=migration.pk, outcome=outcome).exists():
                raise MigrationRefused(
                    "the migration ended in another way meanwhile: read `kms key-info` before a key goes"
                )
            return True
        if DataKey.objects.exclude(provider=provider).exists():
            return False
        locked.open, locked.outcome, locked.ended_at = None, outcome, timezone.now()
        locked.save(update_fields=["open", "outcome", "ended_at"])
        dropped = DataKey.objects.exclude(other_provider="").update(**_NO_OTHER)
        record_step(locked, action, {"data_keys": DataKey.objects.count(), "wraps_dropped": dropped})
        if outcome == FINALISED and legacy_rows().exists():
            # Only now, since an import holds the lock that recording has waited for.
            transaction.set_rollback(True)
            return False
    return True


def record_step(migration: KeyMigration, action: Action, details: dict[str, Json]) -> None:
    """Record a step of a migration as a whole."""
    record(
        actor=actors.system(),
        action=action,
        stream=streams.SYSTEM,
        object=AuditObject("key_migration", migration.uuid, "local to kms"),
        details={**details, **row_digest_entry(migration)},
    )


def _local_key_uri() -> str:
    uris = set(DataKey.objects.filter(provider=LOCAL).values_list("key_uri", flat=True))
    if len(uris) != 1:
        raise MigrationRefused(f"data keys are under {len(uris)} key files: a migration leads away from one")
    uri = uris.pop()
    provider_named(LOCAL).describe(uri)
    return uri
