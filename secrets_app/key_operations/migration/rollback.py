"""Goes back from KMS to the key file, from a backup and the wraps that data keys carry; KMS may be lost.

What was written since is kept: data keys that were made in the meantime carry the key file's wrap as well.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from audit_app.events.actions import Action
from audit_app.interfaces import keyring
from environments_app.models import Environment
from secrets_app.errors import MigrationRefused, SecretError
from secrets_app.key_operations.migration.service import put_wraps
from secrets_app.key_operations.migration.state import (
    Backup,
    end,
    read_backup,
    require_backend,
    require_both_providers,
)
from secrets_app.key_operations.rewrap import Scope
from secrets_app.keys.models import FINALISED, ROLLED_BACK
from secrets_app.keys.system_keyring import SystemKeyring
from secrets_app.keys.wrapping import (
    LOCAL,
    WrappedKey,
    fallback_wrap,
    open_wrap,
    primary_wrap,
    rewrap,
    unwrap,
)
from secrets_app.models import DataKey, KeyMigration

# How often it goes through the data keys while processes that still use KMS make new ones.
_PASSES: Final = 5


@dataclass(frozen=True, kw_only=True)
class RolledBack:
    """What a rollback did: how many data keys went back to the key file, and which migration ended."""

    migration: str
    data_keys: int
    ok: bool = True

    def text(self) -> str:
        return f"migration {self.migration} rolled back: {self.data_keys:,} data keys moved"


def roll_back(path: Path) -> RolledBack:
    """Make the key file open every data key again, and end the migration.

    Raises MigrationRefused, before anything changes, if the settings, the backup or the migration
    do not allow it, or a data key would be lost. Interrupted, it is simply repeated.
    """
    require_both_providers()
    require_backend(LOCAL)
    backup = read_backup(path)
    migration = _migration(backup.migration)
    wraps = _local_wraps(backup.wraps)
    keys = keyring()
    if isinstance(keys, SystemKeyring):
        # By the key file, since KMS may be why this is a rollback.
        keys.open_with(lambda row: open_wrap(row, wraps.get(row.uuid) or primary_wrap(row)))
    backup.require_genuine()
    if not migration.is_authentic():
        raise MigrationRefused("the row of the migration was not written by Keeper: restore it")
    if migration.outcome == ROLLED_BACK:
        return RolledBack(migration=str(migration.uuid), data_keys=0)
    return RolledBack(migration=str(migration.uuid), data_keys=_go_back(migration, wraps, backup))


def _migration(uuid: UUID) -> KeyMigration:
    migration = KeyMigration.objects.filter(uuid=uuid).first()
    if migration is None:
        raise MigrationRefused("the backup is of a migration that this database does not know")
    if migration.outcome == FINALISED:
        raise MigrationRefused(
            f"the migration was finalised at {migration.ended_at:%Y-%m-%d %H:%M} UTC: the wraps of the key "
            "file are gone, and keys that were made since never had one"
        )
    if KeyMigration.objects.filter(pk__gt=migration.pk).exists():
        raise MigrationRefused("the backup is out of date: it is of an earlier migration than the last one")
    return migration


def _go_back(migration: KeyMigration, wraps: Mapping[UUID, WrappedKey], backup: Backup) -> int:
    environments = {row.pk: row for row in Environment.every.all()}
    changed = 0
    for _ in range(_PASSES):
        for row in _under_kms():
            wrap = wraps.get(row.uuid)
            environment = environments.get(row.environment_id) if row.environment_id else None
            if wrap and put_wraps(
                row, Scope(environment), own=wrap, other=primary_wrap(row), step="rollback"
            ):
                changed += 1
        if end(migration, outcome=ROLLED_BACK, action=Action.KEY_MIGRATION_ROLLBACK, provider=LOCAL):
            return changed
        wraps = _local_wraps(backup.wraps)
        environments = {row.pk: row for row in Environment.every.all()}
    raise MigrationRefused("new data keys are made under KMS: stop the running migration, then repeat this")


def _under_kms() -> Iterable[DataKey]:
    return DataKey.objects.exclude(provider=LOCAL).order_by("pk")


def _local_wraps(backup_wraps: Mapping[UUID, WrappedKey]) -> dict[UUID, WrappedKey]:
    """Return a proven wrap of the key file for each data key of KMS. Raises MigrationRefused without one."""
    wraps, lost = {}, []
    for row in _under_kms():
        wrap = _proven(row, [fallback_wrap(row), backup_wraps.get(row.uuid)]) or _made_now(row)
        if wrap:
            wraps[row.uuid] = wrap
        else:
            lost.append(str(row.uuid))
    if lost:
        raise MigrationRefused(
            f"the key file opens no wrap of data keys {', '.join(lost)}, and KMS does not open them now: put "
            "the right key file back, or make KMS reachable"
        )
    return wraps


def _proven(row: DataKey, wraps: Iterable[WrappedKey | None]) -> WrappedKey | None:
    for wrap in wraps:
        if wrap and wrap.provider == LOCAL:
            try:
                open_wrap(row, wrap)
            except SecretError:
                continue
            return wrap
    return None


def _made_now(row: DataKey) -> WrappedKey | None:
    """Wrap a data key that has no wrap of the key file, while KMS still opens it."""
    uris = KeyMigration.objects.filter(open=True).values_list("local_key_uri", flat=True)
    try:
        return rewrap(row, unwrap(row), by=LOCAL, key_uri=uris[0])
    except (SecretError, IndexError):
        return None
