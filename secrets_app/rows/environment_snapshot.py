"""Keeps a sealed snapshot of an environment's values, so that equal rows are not proved and opened again.

Its envelope is bound to the digest of all rows, which is made of the digests of each: a row whose digest is
among them is the row whose value it holds. It is made of the second read of equal rows in a process, sealed
while the values are at hand, and stored apart from the answer.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
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
from secrets_app.models.sealed_values import DIGEST_LENGTH
from secrets_app.rows.current_versions import RawRow, StoredRows, named_data_keys, stored_rows

# Fewer rows are proved and opened in about the time that a snapshot takes.
MIN_SECRETS: Final = 100
_ENVIRONMENTS_KEPT: Final = 256
_log = logging.getLogger(__name__)


class Found(NamedTuple):
    """A stored snapshot, still sealed, with the digests of its rows; a receipt for it covers its uuid."""

    uuid: UUID
    row_digests: list[bytes]
    sealed: Sealed

    def is_outdated(self, stored: StoredRows) -> bool:
        """Return whether this process has read these rows before, and some are others than those it holds."""
        return was_read(stored) and self.row_digests != stored.row_digests

    def others(self, stored: StoredRows) -> Sequence[RawRow] | None:
        """Return the rows whose value it does not hold; None if they are most, or the rest has other keys."""
        if self.row_digests == stored.row_digests:
            return []
        held = frozenset(self.row_digests)
        both = zip(stored.rows, stored.row_digests, strict=True)
        others = [row for row, digest in both if digest not in held]
        if len(others) * 2 > len(stored.rows):
            return None
        # It asks for no key that none of the rows needs.
        needed = named_data_keys([self.sealed.envelope]) <= named_data_keys(stored.envelopes())
        return others if needed else None

    def merged(self, plaintext: bytes, stored: StoredRows, others: Mapping[str, str]) -> dict[str, str]:
        """Return name → value of the stored rows, of the opened snapshot and the values that it lacks."""
        held = dict(zip(self.row_digests, values_of(plaintext).values(), strict=True))
        both = zip(stored.names(), stored.row_digests, strict=True)
        return {name: held[digest] if digest in held else others[name] for name, digest in both}


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
    if row is None or [type(column) for column in row] != [str, bytes, bytes, bytes]:
        return None
    if hashlib.sha256(row[2]).digest() != row[1]:
        # Also one of a release that keeps no digests of rows.
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
    digests = [row[2][at : at + DIGEST_LENGTH] for at in range(0, len(row[2]), DIGEST_LENGTH)]
    return Found(uuid, digests, Sealed(row[3], context))


def find(environment: Environment, rows: StoredRows) -> Found | None:
    """Return the snapshot of an environment if there is one, and enough rows."""
    return stored_snapshot(environment) if len(rows.rows) >= MIN_SECRETS else None


def values_of(plaintext: bytes) -> dict[str, str]:
    """Return name → value in the order of names, of an opened snapshot."""
    values: dict[str, str] = orjson.loads(plaintext)
    return values


def prepare(environment: Environment, stored: StoredRows, values: Mapping[str, str]) -> None:
    """Seal a snapshot of opened rows, by name; it is stored once the present request is answered.

    Nothing is prepared of few secrets, of rows of which some did not prove themselves, of more than 4 MiB,
    or where the active data key seals none of the rows: a snapshot asks for no key that its rows do not.
    """
    if not MIN_SECRETS <= len(values) == len(stored.rows):
        return
    plaintext = orjson.dumps(values)
    if len(plaintext) > MAX_SNAPSHOT_BYTES:
        return
    key = _active_key(environment, stored)
    if key is not None:
        digests = b"".join(stored.row_digests)
        snapshot = EnvironmentSnapshot(environment=environment, digest=stored.digest, row_digests=digests)
        snapshot.value = Sealed.of(plaintext, data_key=key, context=snapshot.sealing_context())
        _waiting.set(_Waiting(snapshot, len(values)))


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


def _active_key(environment: Environment, stored: StoredRows) -> PlainKey | None:
    keys = DataKey.objects.filter(scope=environment.uuid, purpose=VALUES, active=True)
    active = keys.values_list("uuid", flat=True).first()
    if active not in named_data_keys(stored.envelopes()):
        return None
    try:
        return data_keys.plain_key(active, environment=environment.uuid)
    except KeyUnavailable:
        return None


@cache
def _select(vendor: str) -> str:  # noqa: ARG001 - a key of the cache
    table = connection.ops.quote_name(EnvironmentSnapshot._meta.db_table)
    return f"SELECT uuid, digest, row_digests, value FROM {table} WHERE environment_id = %s"  # noqa: S608 - our own names
