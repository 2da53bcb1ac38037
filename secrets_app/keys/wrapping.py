"""Wraps new data keys and unwraps stored ones, under contexts recomputed from what is expected."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection

from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.canonical_json import Json
from environments_app.models import Environment
from secrets_app.envelope import NO_ENVIRONMENT, PlainKey
from secrets_app.errors import KeyUnavailable, MigrationMoved, NetworkInTransaction, WrongContext
from secrets_app.keys.models import FINALISED, ROLLED_BACK, DataKey, KeyMigration
from secrets_app.keys.providers.registry import provider, provider_named

RESERVED_PREFIX = "keeper:"
# What a migration leads from and to.
LOCAL: Final = "local"
KMS: Final = "kms"


@dataclass(frozen=True, kw_only=True)
class WrappedKey:
    """A data key as one provider's key wraps it."""

    provider: str
    key_uri: str
    wrapped: bytes


def wrap_new(*, environment: Environment | None, purpose: str, key_uri: str) -> tuple[DataKey, PlainKey]:
    """Return a new data key: its row, not yet saved, and the key itself.

    While a migration is open the row carries the other provider's wrap as well. May go over the
    network. Raises what the providers raise, and KeyUnavailable if the last migration ended with the
    other provider.
    """
    keeper = provider()
    _refuse_left(keeper.name)
    scope = environment.uuid if environment else NO_ENVIRONMENT
    row = DataKey(
        uuid=uuid4(),
        environment=environment,
        scope=scope,
        purpose=purpose,
        provider=keeper.name,
        context=dict(settings.KMS_ENCRYPTION_CONTEXT),
    )
    generated = keeper.generate(key_uri=key_uri, context=context_of(row))
    row.key_uri, row.wrapped_key = generated.key_uri, generated.wrapped
    key = PlainKey(id=row.uuid, material=generated.plain)
    migration = KeyMigration.objects.filter(open=True).first()
    if migration is not None:
        other = _wrap_with_other(key, row, migration)
        row.other_provider, row.other_key_uri = other.provider, other.key_uri
        row.other_wrapped_key = other.wrapped
    return row, key


def require_current_wrap(row: DataKey) -> None:
    """Raise MigrationMoved if a migration began or ended since a new row was wrapped.

    Called in the transaction that stores the row; the lock holds the migration's end back. Raises
    KeyUnavailable as `wrap_new` does.
    """
    is_open = KeyMigration.objects.select_for_update().filter(open=True).exists()
    if is_open != bool(row.other_provider):
        raise MigrationMoved("a migration of keys began or ended while a data key was made")
    _refuse_left(row.provider)


def unwrap(row: DataKey) -> PlainKey:
    """Return the data key of a stored row, from its own wrap; the other one opens in a rollback only.

    May go over the network. Raises WrongContext if the row was edited or belongs elsewhere,
    KeyRefused if the key that wraps it is not allowed, KeyUnavailable if it cannot be used now.
    """
    return open_wrap(row, primary_wrap(row))


def open_wrap(row: DataKey, wrap: WrappedKey) -> PlainKey:
    """Return a row's data key from one of its wraps; raises as `unwrap` does."""
    keeper = provider_named(wrap.provider)
    material = keeper.unwrap(key_uri=wrap.key_uri, wrapped=wrap.wrapped, context=context_of(row))
    return PlainKey(id=row.uuid, material=material)


def rewrap(row: DataKey, key: PlainKey, *, by: str, key_uri: str) -> WrappedKey:
    """Return a row's data key wrapped by another provider; raises what that raises."""
    keeper = provider_named(by)
    wrapped = keeper.wrap(key_uri=key_uri, plain=key.material, context=context_of(row))
    return WrappedKey(provider=by, key_uri=key_uri, wrapped=wrapped)


def primary_wrap(row: DataKey) -> WrappedKey:
    """Return the wrap that opens a row in service."""
    return WrappedKey(provider=row.provider, key_uri=row.key_uri, wrapped=bytes(row.wrapped_key))


def fallback_wrap(row: DataKey) -> WrappedKey | None:
    """Return the wrap that a row carries for a rollback, if it does."""
    if not row.other_provider:
        return None
    return WrappedKey(
        provider=row.other_provider, key_uri=row.other_key_uri, wrapped=bytes(row.other_wrapped_key)
    )


def context_of(row: DataKey) -> dict[str, str]:
    """Return the encryption context that a row's data key is wrapped under, by whichever provider.

    Raises WrongContext if the frozen pairs were edited.
    """
    return encryption_context(uuid=row.uuid, scope=row.scope, purpose=row.purpose, frozen=row.context)


def encryption_context(*, uuid: UUID, scope: UUID, purpose: str, frozen: Mapping[str, str]) -> dict[str, str]:
    """Return the context a data key is wrapped under: the configured pairs and what it is for.

    Raises WrongContext if the frozen pairs are not text, or use the names that Keeper sets.
    """
    if not isinstance(frozen, dict) or not all(
        isinstance(name, str) and isinstance(value, str) and not name.startswith(RESERVED_PREFIX)
        for name, value in frozen.items()
    ):
        raise WrongContext("the frozen pairs of the encryption context were edited")
    return {
        **frozen,
        "keeper:deployment": str(deployment_uuid()),
        "keeper:purpose": purpose,
        "keeper:environment": str(scope),
        "keeper:data-key": str(uuid),
    }


def refuse_in_transaction(what: str) -> None:
    """Raise NetworkInTransaction if the caller holds a transaction open."""
    if is_in_transaction():
        raise NetworkInTransaction(f"{what}: that has to be done before the transaction begins")


def is_in_transaction() -> bool:
    """Return whether the caller holds a transaction open.

    The transaction that a test case wraps around each test does not count, as it does not for
    Django's own durable blocks.
    """
    blocks = connection.atomic_blocks
    # Django has no public name for it; its own check reads the same attribute.
    return bool(blocks) and not getattr(blocks[-1], "_from_testcase", False)


def _refuse_left(name: str) -> None:
    """Raise KeyUnavailable if the last migration left a provider behind.

    A process whose settings were forgotten would else make data keys that the other ones, or this
    one once KEY_MIGRATION is off, do not open.
    """
    outcome = KeyMigration.objects.order_by("-pk").values_list("outcome", flat=True).first()
    if outcome == ROLLED_BACK and name == KMS:
        raise KeyUnavailable(
            "data keys were rolled back to the key file: set KEY_MANAGEMENT_BACKEND to local for this "
            "process and restart it, or run the migration to KMS again",
            permanent=True,
        )
    if outcome == FINALISED and name == LOCAL:
        raise KeyUnavailable(
            "the migration to KMS was finalised: set KEY_MANAGEMENT_BACKEND to kms for this process and "
            "restart it",
            permanent=True,
        )


def _wrap_with_other(key: PlainKey, row: DataKey, migration: KeyMigration) -> WrappedKey:
    if not settings.KEY_MIGRATION:
        raise KeyUnavailable(
            "a migration of keys is open: set KEY_MIGRATION=true until it is finalised or rolled back",
            permanent=True,
        )
    if row.provider == KMS:
        return rewrap(row, key, by=LOCAL, key_uri=migration.local_key_uri)
    reference = row.environment.kms_key_alias if row.environment else ""
    return rewrap(row, key, by=KMS, key_uri=provider_named(KMS).resolve(reference, fresh=True))


def record_creation(row: DataKey, *, stream: str, name: str, replaces: UUID | None, **more: Json) -> None:
    """Record that a data key was made, in the transaction that stores it."""
    record(
        actor=actors.system(),
        action=Action.DATA_KEY_CREATE,
        stream=stream,
        object=AuditObject("data_key", row.uuid, name),
        details={
            "purpose": row.purpose,
            "provider": row.provider,
            "key_uri": row.key_uri,
            "replaces": str(replaces) if replaces else None,
            **more,
        },
    )
