"""Begins and ends a migration of keys, and reports what prevents it."""

from typing import Final
from uuid import uuid4

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from audit_app.crypto.canonical_json import Json
from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from secrets_app.errors import MigrationRefused
from secrets_app.key_migration.backup import Written, write_backup
from secrets_app.key_operations.reencrypt import legacy_rows
from secrets_app.keys.models.key_migration import FINALISED
from secrets_app.keys.providers.registry import provider_named
from secrets_app.keys.wrapping import LOCAL
from secrets_app.models import DataKey, KeyMigration

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
    standing = open_migration()
    migration = standing or KeyMigration(uuid=uuid4(), local_key_uri=_local_key_uri())
    written = write_backup(migration.uuid)
    try:
        with transaction.atomic():
            if standing is None:
                migration.save(force_insert=True)
            record_step(
                migration,
                Action.KEY_MIGRATION_START,
                {
                    "resumed": standing is not None,
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
    """
    with transaction.atomic():
        locked = KeyMigration.objects.select_for_update().filter(pk=migration.pk, open=True).first()
        if locked is None:
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
