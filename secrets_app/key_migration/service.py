"""The migration as an operator runs it: first a dry run, then scope by scope."""

from collections.abc import Iterator
from dataclasses import dataclass

from audit_app.interfaces.keyring import keyring
from environments_app.models import Environment
from secrets_app.errors import KeyRefused, KeyUnavailable, RotationSuperseded
from secrets_app.key_migration.move import move, unmoved
from secrets_app.key_migration.state import begin, open_migration, require_both_providers
from secrets_app.key_migration.verify import prove_credentials, verify_wraps
from secrets_app.key_operations.key_test import try_key
from secrets_app.key_operations.reencrypt import legacy_rows, reseal_legacy
from secrets_app.key_operations.rewrap import Scope
from secrets_app.key_operations.rotation import Progress, ScopeResult
from secrets_app.keys.providers.registry import provider_named
from secrets_app.keys.wrapping import KMS, LOCAL
from secrets_app.models import DataKey, KeyMigration


@dataclass(kw_only=True)
class Migrated(ScopeResult):
    """What a migration did, or would do, for one environment or for the system keys.

    `backup` is the file that this run wrote; `data_keys` counts those that were moved, or in a dry
    run would be, and `legacy_values` those of the older scheme that were sealed, or would be.
    """

    dry_run: bool
    backup: str = ""
    data_keys: int = 0
    values_proven: int = 0
    credentials_proven: int = 0
    legacy_values: int = 0

    def text(self) -> str:
        if self.dry_run:
            done = [f"{self.data_keys:,} data keys would move", f"{self.values_proven:,} values open"]
            if self.credentials_proven:
                done.append(f"{self.credentials_proven:,} credentials open")
        else:
            done = [f"{self.data_keys:,} data keys moved", *self.replaced()]
        if self.legacy_values:
            of_which = "of them of the older scheme" if self.dry_run else "values of the older scheme sealed"
            done.append(f"{self.legacy_values:,} {of_which}")
        return self.lines(done, *([f"  backup: {self.backup}"] if self.backup else []))


def plan(*, environment: str = "", batch_size: int, progress: Progress) -> Iterator[Migrated]:
    """Report what a migration would do, try each key, and verify that every value and credential opens.

    Nothing changes except the audit log, which records the openings. Raises MigrationRefused if the
    settings do not allow a migration, KeyringUnavailable if the audit log's keys do not open.
    """
    require_both_providers()
    keyring().open_all()
    is_open = open_migration() is not None
    for scope in scopes(environment):
        migrated = Migrated(name=scope.name, dry_run=True, data_keys=unmoved(scope, is_open=is_open).count())
        reference = scope.environment.kms_key_alias if scope.environment else ""
        trial = try_key(provider_named(KMS), reference, [scope.name])
        migrated.key_uri = trial.key_uri
        if not trial.ok:
            migrated.problems.append(f"failed to {trial.step}: {trial.problem}")
        if scope.environment:
            migrated.legacy_values = legacy_rows().filter(secret__environment=scope.environment).count()
            _prove(migrated, scope.environment, batch_size, progress)
        yield migrated


def migrate(
    *, environment: str = "", reencrypt: bool = False, batch_size: int, progress: Progress
) -> Iterator[Migrated]:
    """Move the data keys of everything, or of one environment, to KMS; may be stopped and repeated.

    With `reencrypt` environments get new data keys, and their values are sealed under these first;
    the system keys are replaced as well.
    Raises MigrationRefused and KeyringUnavailable as `plan` does, before anything changes.
    """
    require_both_providers()
    keyring().open_all()
    migration, backup = _begun(environment)
    for scope in scopes(environment):
        done = Migrated(name=scope.name, dry_run=False, backup=backup)
        try:
            if reencrypt:
                done.replace_keys(scope, progress, batch_size)
            _move(done, scope, migration, progress)
            _seal_legacy(done, scope, batch_size, progress)
        except (KeyUnavailable, KeyRefused, RotationSuperseded) as error:
            done.problems.append(str(error))
        yield done


def scopes(environment: str = "") -> Iterator[Scope]:
    """Yield the system keys and every environment, or one environment alone."""
    if not environment:
        yield Scope()
    rows = Environment.objects.order_by("name")
    for row in rows.filter(name=environment) if environment else rows:
        yield Scope(row)


def _begun(environment: str) -> tuple[KeyMigration | None, str]:
    """Return the migration, and the backup written for what is left to do; neither if there is nothing."""
    migration = open_migration()
    if migration is None and not DataKey.objects.filter(provider=LOCAL).exists():
        return None, ""
    if migration and not any(unmoved(scope).exists() for scope in scopes(environment)):
        return migration, ""
    begun, written = begin()
    return begun, str(written.path)


def _seal_legacy(done: Migrated, scope: Scope, batch_size: int, progress: Progress) -> None:
    if scope.environment is None:
        return
    result = reseal_legacy(
        scope.environment,
        batch_size=batch_size,
        progress=lambda count, total: progress(done.name, count, total, "values of the older scheme sealed"),
    )
    if result:
        done.legacy_values = result.values
        done.problems += result.broken.values()


def _move(done: Migrated, scope: Scope, migration: KeyMigration | None, progress: Progress) -> None:
    done.key_uri = scope.key_uri_of(provider_named(KMS))
    if migration is None:
        return
    total = unmoved(scope).count()
    for count, moved in enumerate(move(scope, migration), 1):
        if moved.problem:
            done.problems.append(moved.problem)
        else:
            done.data_keys += 1
        progress(done.name, count, total, "data keys moved")


def _prove(told: Migrated, environment: Environment, batch_size: int, progress: Progress) -> None:
    def tell(count: int, total: int) -> None:
        told.values_proven = count
        progress(environment.name, count, total, "values opened")

    problems = list(verify_wraps(environment, batch_size=batch_size, progress=tell))
    told.values_proven -= len(problems)
    told.problems += problems
    found = list(prove_credentials(environment))
    told.credentials_proven = found.count("")
    told.problems += filter(None, found)
