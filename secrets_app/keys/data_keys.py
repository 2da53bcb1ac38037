"""Gives out the data keys that seal and open an environment's values."""

import functools
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import UUIDField
from django.utils import timezone

from audit_app.events.streams import environment_stream
from audit_app.integrity.row_authentication import record_integrity_violation
from audit_app.interfaces import keyring
from core.db.prepared import Argument, PreparedQuery
from environments_app.models import Environment
from secrets_app.envelope import PlainKey
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable, MigrationMoved, UnknownDataKey
from secrets_app.keys.data_key_cache import KeyCache, OpenKey
from secrets_app.keys.models import VALUES, DataKey
from secrets_app.keys.providers.registry import provider, provider_named
from secrets_app.keys.wrapping import (
    record_creation,
    refuse_in_transaction,
    require_current_wrap,
    unwrap,
    wrap_new,
)

_log = logging.getLogger(__name__)


def active_key(environment: Environment, known: "ActiveKey | None" = None) -> PlainKey:
    """Return the data key that seals new values of an environment; one statement when it is warm.

    `known` is its row, if the caller has just read it.

    A key is made when there is none, when it is older than KMS_DATA_KEY_MAX_AGE_DAYS, or when
    the environment was given another key encryption key. Call it before a transaction begins:
    a rolled back key would strand what it sealed.

    Raises NetworkInTransaction if a key has to be made or opened inside a transaction, and
    KeyUnavailable, KeyRefused or WrongContext if it cannot be.
    """
    key = known or _active_key(environment)
    if key is not None and not _is_due(key, environment):
        return _get_cached(key.uuid, None).plain
    try:
        return _create_key(environment, replaces=key)
    except KeyUnavailable as error:
        if key is None or error.permanent:
            raise
        # Replacing by age is hygiene: values are still sealed while KMS is away.
        _log.warning("data key %s is due for replacement: %s", key.uuid, error)
        return _get_cached(key.uuid, None).plain


def replace_key(environment: Environment) -> PlainKey:
    """Return a new data key for all new values; its event has the reason `rotation`.

    Raises what `active_key` raises when it has to make one.
    """
    return _create_key(environment, replaces=_active_key(environment), reason="rotation")


def plain_key(data_key_id: UUID, *, environment: UUID | None = None) -> PlainKey:
    """Return a data key by the id in an envelope; no statement and no call when it is kept.

    Raises UnknownDataKey if there is no such key for values (of the environment, if given), and
    KeyUnavailable, KeyRefused or WrongContext as the provider does. Raises NetworkInTransaction
    if it would have to ask KMS inside a transaction: `prefetch` before it.
    """
    key = _get_cached(data_key_id, None)
    if environment is not None and key.scope != environment:
        raise UnknownDataKey(f"data key {data_key_id} is not a key of the value's environment")
    return key.plain


def prefetch(data_key_ids: Iterable[UUID | None]) -> None:
    """Open those keys that are not kept yet, found by one statement; raises as `plain_key` does.

    None, the mark of the older scheme, needs none. An id without a row is left for `plain_key` to
    refuse, so that it spoils no other value.
    """
    missing = [
        data_key_id for data_key_id in set(data_key_ids) if data_key_id and not cache().has(data_key_id)
    ]
    for row in DataKey.objects.filter(uuid__in=missing, purpose=VALUES) if missing else ():
        _get_cached(row.uuid, row)


@functools.cache
def cache() -> KeyCache:
    """Return the process's cache of data keys, bounded by the KMS_DEK_CACHE settings."""
    return KeyCache(
        ttl=settings.KMS_DEK_CACHE_TTL, uses=settings.KMS_DEK_CACHE_USES, size=settings.KMS_DEK_CACHE_SIZE
    )


def forget_data_keys() -> None:
    """Drop every kept data key and the cache's limits (for tests)."""
    cache.cache_clear()


class ActiveKey(NamedTuple):
    """What decides whether the active key still serves; its whole row is read where it is not open."""

    pk: int
    uuid: UUID
    created_at: datetime
    provider: str
    key_uri: str


_ACTIVE: Final = PreparedQuery(
    lambda: (
        DataKey.objects.filter(scope=Argument(0, UUIDField()), purpose=VALUES, active=True)
        .order_by()
        .values_list(*ActiveKey._fields)
    )
)


def _active_key(environment: Environment) -> ActiveKey | None:
    found = _ACTIVE.first(environment.uuid)
    return None if found is None else ActiveKey._make(found)


def _get_cached(data_key_id: UUID, row: DataKey | None) -> OpenKey:
    try:
        return cache().get(data_key_id, lambda: _unwrapped(data_key_id, row))
    except (EnvelopeError, KeyRefused) as error:
        # Outside the flight: who waits for this key may hold the lock that recording needs.
        if not isinstance(error, UnknownDataKey):
            record_integrity_violation(
                kind="data_key", uuid=data_key_id, name=str(data_key_id), reason=str(error)
            )
        raise


def _unwrapped(data_key_id: UUID, row: DataKey | None) -> OpenKey:
    row = row or DataKey.objects.filter(uuid=data_key_id, purpose=VALUES).first()
    if row is None:
        raise UnknownDataKey(f"data key {data_key_id} is not among the stored keys for values")
    if provider_named(row.provider).remote:
        refuse_in_transaction("a data key is unwrapped over the network")
    try:
        plain = unwrap(row)
    except KeyUnavailable as error:
        error.key_uri = row.key_uri
        raise
    return OpenKey(plain=plain, scope=row.scope, key_uri=row.key_uri)


def _is_due(key: ActiveKey, environment: Environment) -> bool:
    if timezone.now() - key.created_at > timedelta(days=settings.KMS_DATA_KEY_MAX_AGE_DAYS):
        return True
    if key.provider != provider().name:
        return False
    try:
        # What an alias led to a while ago does not take a key away that was wrapped again since.
        return all(
            key.key_uri != provider().resolve(environment.kms_key_alias, fresh=fresh)
            for fresh in (False, True)
        )
    except KeyUnavailable as error:
        if error.permanent:
            raise
        return False


def _create_key(environment: Environment, *, replaces: ActiveKey | None, reason: str = "due") -> PlainKey:
    refuse_in_transaction("a data key is made")
    if not environment.is_authentic():
        reason = "the environment's row, which names its key, was not written by Keeper"
        record_integrity_violation(
            kind="environment", uuid=environment.uuid, name=environment.name, reason=reason
        )
        raise KeyRefused(reason)
    key_uri = provider().resolve(environment.kms_key_alias, fresh=True)
    try:
        row, plain = wrap_new(environment=environment, purpose=VALUES, key_uri=key_uri)
    except KeyUnavailable as error:
        if error.permanent:
            cache().evict_wrapped_by(key_uri)
        raise
    try:
        installed = _install(row, environment, replaces, reason)
    except MigrationMoved:
        return _create_key(environment, replaces=replaces, reason=reason)
    if not installed:
        return active_key(environment)
    cache().put(OpenKey(plain=plain, scope=row.scope, key_uri=row.key_uri))
    return plain


def _install(row: DataKey, environment: Environment, replaces: ActiveKey | None, reason: str) -> bool:
    """Store a new key as the active one with its event; False if another process was first."""
    # The audit log's keys are opened here, not under the transaction's locks.
    keyring().open_all()
    try:
        with transaction.atomic():
            require_current_wrap(row)
            if replaces:
                standing = DataKey.objects.filter(pk=replaces.pk, active=True)
                if standing.update(active=None, retired_at=timezone.now()) != 1:
                    return False
            row.save(force_insert=True)
            record_creation(
                row,
                stream=environment_stream(environment.uuid),
                name=environment.name,
                replaces=replaces.uuid if replaces else None,
                reason=reason,
            )
    except IntegrityError:
        if not DataKey.objects.filter(scope=row.scope, purpose=VALUES, active=True).exists():
            raise
        return False
    return True
