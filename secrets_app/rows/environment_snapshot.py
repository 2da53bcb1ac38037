"""Keeps a sealed snapshot of an environment's values, so that equal rows are not proved and opened again.

A snapshot is found by the digest of all rows, which its envelope is bound to. It is made of the second read
of equal rows in a process, sealed while the values are at hand, and stored apart from the answer.
"""

import logging
from collections.abc import Sequence
from contextvars import ContextVar
from functools import cache
from threading import Lock, Thread
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from django.core.signals import request_finished
from django.db import DatabaseError, connection, transaction
from django.dispatch import receiver

from audit_app.crypto.hash_chain import manifest_digest
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import DigestedReads
from environments_app.models import Environment
from secrets_app.envelope import ENVIRONMENT_SNAPSHOT, MAX_SNAPSHOT_BYTES, Context, PlainKey
from secrets_app.errors import KeyUnavailable
from secrets_app.keys import data_keys
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.keys.models import VALUES, DataKey
from secrets_app.models import EnvironmentSnapshot
from secrets_app.rows.current_versions import CurrentRow, StoredRows, named_data_keys, stored_rows

# Fewer rows are proved and opened in about the time that a snapshot takes.
MIN_SECRETS: Final = 100
_ENVIRONMENTS_KEPT: Final = 256
_log = logging.getLogger(__name__)


class Found(NamedTuple):
    """A stored snapshot, still sealed, with the digest of its rows; a receipt for it covers its uuid."""

    uuid: UUID
    digest: bytes
    sealed: Sealed


class _Waiting(NamedTuple):
    """A snapshot that is sealed and not stored yet, and of how many rows it is."""

    snapshot: EnvironmentSnapshot
    size: int


# The digests of the manifests of rows, by the digests of these: what equal reads need not compute.
_MANIFESTS: Final[dict[bytes, str]] = {}
_MANIFESTS_LOCK: Final = Lock()
# Held while this process stores one.
_STORING: Final = Lock()
_waiting: ContextVar[_Waiting | None] = ContextVar("environment_snapshot", default=None)


def was_read(rows: StoredRows) -> bool:
    """Return whether this process has read equal rows before."""
    return rows.digest in _MANIFESTS


def reads_of(rows: StoredRows) -> DigestedReads:
    """Return the manifest of a read of these rows."""
    known = _MANIFESTS.get(rows.digest)
    if known is None:
        known = manifest_digest(rows.reads())
        with _MANIFESTS_LOCK:
            while len(_MANIFESTS) >= _ENVIRONMENTS_KEPT:
                del _MANIFESTS[next(iter(_MANIFESTS))]
            _MANIFESTS[rows.digest] = known
    return DigestedReads(known, rows.reads)


def stored_snapshot(environment: Environment) -> Found | None:
    """Return the snapshot of an environment, of whatever rows it is; one statement."""
    with connection.cursor() as cursor:
        cursor.execute(_select(connection.vendor), [environment.pk])
        row = cursor.fetchone()
    if row is None or [type(column) for column in row] != [str, bytes, bytes]:
        return None
    try:
        uuid = UUID(row[0])
    except ValueError:
        return None
    context = Context(
        deployment=deployment_uuid(),
        label=ENVIRONMENT_SNAPSHOT,
        row=uuid,
        environment=environment.uuid,
        parent=(row[1],),
    )
    return Found(uuid, row[1], Sealed(row[2], context))


def find(environment: Environment, rows: StoredRows) -> Found | None:
    """Return the snapshot of an environment if it is that of equal rows."""
    found = stored_snapshot(environment) if len(rows.rows) >= MIN_SECRETS else None
    return found if found and found.digest == rows.digest else None


def values_of(plaintext: bytes) -> dict[str, str]:
    """Return name → value in the order of names, of an opened snapshot."""
    values: dict[str, str] = orjson.loads(plaintext)
    return values


def prepare(
    environment: Environment, stored: StoredRows, rows: Sequence[CurrentRow], values: Sequence[str]
) -> None:
    """Seal a snapshot of opened rows; it is stored once the present request is answered.

    Nothing is prepared of few secrets, of rows of which some did not prove themselves, of more than 4 MiB,
    or where the active data key seals none of the rows: a snapshot asks for no key that its rows do not.
    """
    if not MIN_SECRETS <= len(rows) == len(stored.rows):
        return
    plaintext = orjson.dumps({row.name: value for row, value in zip(rows, values, strict=True)})
    if len(plaintext) > MAX_SNAPSHOT_BYTES:
        return
    key = _active_key(environment, rows)
    if key is not None:
        snapshot = EnvironmentSnapshot(environment=environment, digest=stored.digest)
        snapshot.value = Sealed.of(plaintext, data_key=key, context=snapshot.sealing_context())
        _waiting.set(_Waiting(snapshot, len(rows)))


def store_prepared() -> None:
    """Store what `prepare` has sealed, if the rows are still those; another process may be first."""
    waiting = _waiting.get()
    _waiting.set(None)
    if waiting is not None:
        _store(*waiting)


@receiver(request_finished)
def store_apart(**_signal: Any) -> None:
    """Do what `store_prepared` does in a thread of its own: the answer waits for no lock of the database.

    One at a time: a second one is dropped, and later reads make it again.
    """
    waiting = _waiting.get()
    _waiting.set(None)
    if waiting is not None and _STORING.acquire(blocking=False):
        try:
            Thread(target=_store_and_close, args=waiting, name="snapshot", daemon=True).start()
        except RuntimeError:
            # No thread can be started now.
            _STORING.release()


def forget(environment_id: int) -> None:
    """Delete the snapshot of an environment, in the caller's transaction."""
    EnvironmentSnapshot.objects.filter(environment_id=environment_id).delete()


class _Outdated(Exception):
    """The rows of a snapshot are not those of now."""


def _store_and_close(snapshot: EnvironmentSnapshot, size: int) -> None:
    try:
        _store(snapshot, size)
    finally:
        connection.close()
        _STORING.release()


def _store(snapshot: EnvironmentSnapshot, size: int) -> None:
    try:
        with transaction.atomic():
            _replace(snapshot, size)
    except _Outdated:
        _log.debug("an environment changed before its snapshot was stored")
    except DatabaseError as error:
        _log.info("a snapshot of an environment was not stored: %s", type(error).__name__)


def _replace(snapshot: EnvironmentSnapshot, size: int) -> None:
    forget(snapshot.environment_id)
    snapshot.save(force_insert=True)
    # After the row is locked: a purge deletes the snapshot of a secret that was deleted before, and so either
    # waits for this transaction, or the deletion is seen here.
    rows = stored_rows(snapshot.environment, limit=size, limit_bytes=8 * MAX_SNAPSHOT_BYTES)
    if rows is None or rows.digest != bytes(snapshot.digest):
        raise _Outdated


def _active_key(environment: Environment, rows: Sequence[CurrentRow]) -> PlainKey | None:
    keys = DataKey.objects.filter(scope=environment.uuid, purpose=VALUES, active=True)
    active = keys.values_list("uuid", flat=True).first()
    if active not in named_data_keys(row.envelope for row in rows):
        return None
    try:
        return data_keys.plain_key(active, environment=environment.uuid)
    except KeyUnavailable:
        return None


@cache
def _select(vendor: str) -> str:  # noqa: ARG001 - a key of the cache
    table = connection.ops.quote_name(EnvironmentSnapshot._meta.db_table)
    return f"SELECT uuid, digest, value FROM {table} WHERE environment_id = %s"  # noqa: S608 - our own names
