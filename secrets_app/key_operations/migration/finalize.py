"""Ends a migration permanently: KMS alone opens from then on, and the wraps of the key file are dropped."""

from dataclasses import dataclass, field

from django.db import transaction

from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from secrets_app.errors import MigrationRefused, SecretError
from secrets_app.key_operations.migration.state import (
    end,
    open_migration,
    require_backend,
    require_both_providers,
)
from secrets_app.key_operations.reencrypt import legacy_rows
from secrets_app.keys.legacy_fernet import is_final
from secrets_app.keys.models import FINALISED
from secrets_app.keys.wrapping import KMS, unwrap
from secrets_app.models import DataKey, KeyMigration


@dataclass(frozen=True, kw_only=True)
class Finalised:
    """What finalising proved: how many data keys KMS opens, and which it does not."""

    migration: str
    data_keys: int
    dry_run: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems


def finalise(*, dry_run: bool = False) -> Finalised:
    """Prove that KMS opens every data key, then drop the other wraps; no rollback from then on.

    A dry run only proves. Nothing is dropped while a problem is left. Raises MigrationRefused if
    there is no migration to finalise, the settings do not allow it, or something is not moved yet.
    """
    require_both_providers()
    require_backend(KMS)
    keyring().open_all()
    migration = open_migration()
    if left := legacy_rows().count():
        raise MigrationRefused(
            f"{left:,} values are still of the older scheme and would be lost: run the migration again first"
        )
    if migration is None:
        return _without_migration(dry_run=dry_run)
    if left := DataKey.objects.exclude(provider=KMS).count():
        raise MigrationRefused(f"KMS does not wrap {left:,} data keys yet: run the migration again first")
    problems, opened = _opened_by_kms()
    if (
        not problems
        and not dry_run
        and not end(migration, outcome=FINALISED, action=Action.KEY_MIGRATION_FINALISE, provider=KMS)
    ):
        raise MigrationRefused(
            "a data key was made under the key file, or a value imported, meanwhile: set "
            "KEY_MANAGEMENT_BACKEND to kms for every process, and run the migration again"
        )
    return Finalised(migration=str(migration.uuid), data_keys=opened, dry_run=dry_run, problems=problems)


def _without_migration(*, dry_run: bool) -> Finalised:
    """Answer where no migration is open: it was finalised, or only values of the older scheme were moved."""
    if not is_final():
        if not AuditEvent.objects.filter(action=Action.SECRET_INVENTORY).exists():
            raise MigrationRefused("no migration is open: there is nothing to finalise")
        if not dry_run:
            with transaction.atomic():
                record(
                    actor=actors.system(),
                    action=Action.KEY_MIGRATION_FINALISE,
                    stream=streams.SYSTEM,
                    object=AuditObject("key_migration", actors.NIL, "older scheme"),
                )
                if legacy_rows().exists():
                    raise MigrationRefused("a value was imported meanwhile: run the migration again first")
    last = KeyMigration.objects.filter(outcome=FINALISED).last()
    return Finalised(migration=str(last.uuid) if last else "", data_keys=0, dry_run=dry_run)


def _opened_by_kms() -> tuple[list[str], int]:
    problems, opened = [], 0
    for row in DataKey.objects.order_by("pk"):
        try:
            unwrap(row)
        except SecretError as error:
            problems.append(f"data key {row.uuid}: {error}")
        else:
            opened += 1
    return problems, opened
