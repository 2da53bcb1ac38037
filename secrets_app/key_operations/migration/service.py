"""The migration of data keys to KMS as an operator runs it: dry run, then scope by scope, with proof.

A move gives each data key the wrap of KMS, and leaves that of the key file beside it. The proof opens every
value and credential, a value as the one that was written, and gives none out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.interfaces import keyring
from audit_app.recording.drafts import AuditObject, ManifestEntry
from audit_app.recording.recorder import commit_record, record
from core.canonical_json import Json
from environments_app.models import Environment
from secrets_app.errors import KeyRefused, KeyUnavailable, RotationSuperseded
from secrets_app.key_operations.migration.state import begin, open_migration, require_both_providers
from secrets_app.key_operations.reencrypt import legacy_rows, next_batch, reseal_legacy
from secrets_app.key_operations.rewrap import Rewrapped, Scope, scopes, wrap_each
from secrets_app.key_operations.rotation import Progress, ScopeResult
from secrets_app.key_operations.trial import try_key
from secrets_app.keys.encrypted_field import EncryptedField
from secrets_app.keys.providers.registry import provider_named
from secrets_app.keys.sealed_columns import credential_fields
from secrets_app.keys.wrapping import (
    KMS,
    LOCAL,
    WrappedKey,
    primary_wrap,
    refuse_in_transaction,
    rewrap,
    unwrap,
)
from secrets_app.models import DataKey, KeyMigration, SecretVersion


def unmoved(scope: Scope, *, is_open: bool = True) -> QuerySet[DataKey]:
    """Return the data keys of a scope that KMS does not wrap yet or that lack the key file's wrap."""
    lacking = Q(provider=LOCAL) | Q(other_provider="") if is_open else Q(provider=LOCAL)
    return scope.data_keys().filter(lacking)


def move(scope: Scope, migration: KeyMigration) -> Iterator[Rewrapped]:
    """Give each data key of a scope both wraps, so that KMS opens it from now on.

    Each is a change of its own with its event, so that an interrupted run is simply repeated; of
    two runs at once one changes it. A data key that does not open stays as it is. Raises
    KeyUnavailable or KeyRefused if the scope's key cannot be determined.
    """
    refuse_in_transaction("data keys are wrapped again")
    kms_uri = scope.key_uri_of(provider_named(KMS))
    return wrap_each(unmoved(scope), lambda row: _move_row(row, scope, migration, kms_uri))


def put_wraps(row: DataKey, scope: Scope, *, own: WrappedKey, other: WrappedKey, step: str) -> bool:
    """Give a data key two wraps with its event; False if its row is no longer what was read."""
    with transaction.atomic():
        unchanged = DataKey.objects.filter(
            pk=row.pk, provider=row.provider, key_uri=row.key_uri, wrapped_key=bytes(row.wrapped_key)
        )
        changed = unchanged.update(
            provider=own.provider,
            key_uri=own.key_uri,
            wrapped_key=own.wrapped,
            other_provider=other.provider,
            other_key_uri=other.key_uri,
            other_wrapped_key=other.wrapped,
        )
        if changed:
            record(
                actor=actors.system(),
                action=Action.DATA_KEY_ROTATE,
                stream=scope.stream,
                object=AuditObject("data_key", row.uuid, row.purpose),
                details={"step": step, "from": row.key_uri, "to": own.key_uri, "beside": other.key_uri},
            )
    return bool(changed)


def _move_row(row: DataKey, scope: Scope, migration: KeyMigration, kms_uri: str) -> None:
    key = unwrap(row)
    if row.provider == KMS:
        local = rewrap(row, key, by=LOCAL, key_uri=migration.local_key_uri)
        put_wraps(row, scope, own=primary_wrap(row), other=local, step="migrate")
    else:
        kms = rewrap(row, key, by=KMS, key_uri=kms_uri)
        put_wraps(row, scope, own=kms, other=primary_wrap(row), step="migrate")


def verify_wraps(
    environment: Environment, *, batch_size: int, progress: Callable[[int, int], None]
) -> Iterator[str]:
    """Open every value of an environment and yield what is wrong with those that do not open.

    Each batch is recorded and committed, with its manifest, before a value of it is opened.
    """
    rows = SecretVersion.objects.filter(secret__environment=environment, destroyed_at=None)
    total, done, last = rows.count(), 0, 0
    while batch := list(next_batch(rows, after=last, size=batch_size).select_related("secret")):
        last = batch[-1].pk
        _record(
            environment,
            {"step": "prove", "count": len(batch)},
            [version.secret.manifest_entry(version.number) for version in batch],
        )
        for version in batch:
            version.secret.environment = environment
            if problem := _problem(version):
                yield problem
        done += len(batch)
        progress(done, total)


def prove_credentials(environment: Environment) -> Iterator[str]:
    """Open every credential of an environment's targets, webhooks and policies; yield "" or what is wrong.

    Each is recorded and committed before it is opened.
    """
    for column in credential_fields():
        rows: QuerySet[Any] = QuerySet(column.model).filter(environment=environment).order_by("pk")
        for row in rows:
            row.environment = environment
            details: dict[str, Json] = {"step": "prove", "kind": column.label, "row": str(row.uuid)}
            _record(environment, details)
            yield _credential_problem(column, row)


def _credential_problem(column: EncryptedField, row: Any) -> str:
    what = f"{column.label} {row.uuid}"
    try:
        opens = getattr(row, column.attname).can_decrypt()
    except KeyUnavailable as error:
        return f"{what}: {error}"
    return "" if opens else f"{what}: the credential does not open"


def _problem(version: SecretVersion) -> str:
    what = f"version {version.number} of secret {version.secret.uuid}"
    try:
        if version.value.matches_fingerprint(bytes(version.fingerprint)):
            return ""
    except KeyUnavailable as error:
        return f"{what}: {error}"
    return f"{what}: the value does not open, or is not the one that was written"


def _record(
    environment: Environment, details: dict[str, Json], manifest: Sequence[ManifestEntry] | None = None
) -> None:
    commit_record(
        actor=actors.system(),
        action=Action.DATA_KEY_OPEN,
        stream=environment_stream(environment.uuid),
        object=AuditObject("environment", environment.uuid, environment.name),
        details=details,
        manifest=manifest,
    )


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


def _begun(environment: str) -> tuple[KeyMigration | None, str]:
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


def _prove(result: Migrated, environment: Environment, batch_size: int, progress: Progress) -> None:
    def count_proven(count: int, total: int) -> None:
        result.values_proven = count
        progress(environment.name, count, total, "values opened")

    problems = list(verify_wraps(environment, batch_size=batch_size, progress=count_proven))
    result.values_proven -= len(problems)
    result.problems += problems
    credentials = list(prove_credentials(environment))
    result.credentials_proven = credentials.count("")
    result.problems += filter(None, credentials)
