"""Gives each data key the wrap of KMS, and keeps that of the key file beside it."""

from collections.abc import Iterator

from django.db import transaction
from django.db.models import Q, QuerySet

from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from secrets_app.key_operations.rewrap import Rewrapped, Scope, wrap_each
from secrets_app.keys.providers.registry import provider_named
from secrets_app.keys.wrapping import (
    KMS,
    LOCAL,
    WrappedKey,
    primary_wrap,
    refuse_in_transaction,
    rewrap,
    unwrap,
)
from secrets_app.models import DataKey, KeyMigration


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
    refuse_in_transaction("data keys are wrapped anew")
    kms_uri = scope.key_uri_of(provider_named(KMS))
    return wrap_each(unmoved(scope), lambda row: _move_row(row, scope, migration, kms_uri))


def put_wraps(row: DataKey, scope: Scope, *, own: WrappedKey, other: WrappedKey, step: str) -> bool:
    """Give a data key two wraps with its event; False if its row is no longer what was read."""
    with transaction.atomic():
        standing = DataKey.objects.filter(
            pk=row.pk, provider=row.provider, key_uri=row.key_uri, wrapped_key=bytes(row.wrapped_key)
        )
        changed = standing.update(
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
