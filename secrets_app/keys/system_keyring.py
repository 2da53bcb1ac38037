"""The system keys: they authenticate the audit log, the rows and the checkpoints of this deployment.

They are data keys without an environment, opened once and pinned for the life of the process,
outside the cache of data keys, so that recording and signing in continue while KMS is away. Opening
them records nothing, since recording needs them.

- A process opens them when it starts: readiness and the workers call `keyring().open_all()`
  (the check of readiness does), outside any transaction. A process that cannot open them is never ready.
- A first call of `mac` inside a transaction works as well, but a remote provider makes the transaction wait,
  once for each process, with a warning. Commands that write call `open_all()` first.
- A missing key is created on first use, unless the audit log records one: then the table was damaged, and a
  new key would make everything that the old one authenticates look forged.
- The event of a key's creation needs the key. So it is recorded after the keys were opened and
  committed; a process that died in between leaves it to the next one that opens them.
- A key that was replaced still verifies. A process that meets a tag under a key that it does not
  know opens that key, and `open_all` looks for new ones every minute, to write under them.
"""

import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import QuerySet

from audit_app.errors import KeyringUnavailable, NotSealedHere
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import record_integrity_violation
from audit_app.interfaces import Place, Purpose, Signature
from audit_app.models import AuditEvent, deployment_uuid
from secrets_app.envelope import NO_ENVIRONMENT, Context, PlainKey, open_envelope, seal
from secrets_app.errors import EnvelopeError, KeyRefused, MigrationMoved, SecretError, UnknownDataKey
from secrets_app.keys.models import DataKey
from secrets_app.keys.providers.registry import provider
from secrets_app.keys.wrapping import (
    is_in_transaction,
    record_creation,
    require_current_wrap,
    unwrap,
    wrap_new,
)

_TAG_BYTES: Final = 48
# How often `open_all` looks whether keys were replaced.
_LOOK_SECONDS: Final = 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _OpenKeys:
    """All system keys in the clear: the active ones write, every one verifies."""

    active: dict[Purpose, PlainKey] = field(default_factory=dict, repr=False)
    by_id: dict[tuple[Purpose, bytes], PlainKey] = field(default_factory=dict, repr=False)
    # Rows of keys that no longer write and do not open: (uuid, purpose, why).
    broken: list[tuple[UUID, str, str]] = field(default_factory=list)

    def add(self, row: DataKey, key: PlainKey) -> None:
        purpose = Purpose(row.purpose)
        self.by_id[purpose, key.id.bytes] = key
        if row.active:
            self.active[purpose] = key


class SystemKeyring:
    """Implements audit_app's Keyring, which describes the methods, with the system data keys."""

    def __init__(self) -> None:
        # Re-entrant: recording the creation of a key asks for a MAC.
        self._lock = threading.RLock()
        self._pinned: _OpenKeys | None = None
        self._uncommitted: _Uncommitted | None = None
        self._looked_at = 0.0

    def mac(self, purpose: Purpose, message: bytes) -> bytes:
        key = (self._pinned or self._open_keys()).active[purpose]
        return key.id.bytes + key.hmac_sha256(message)

    def verify(self, purpose: Purpose, message: bytes, tag: bytes) -> bool:
        tag = bytes(tag)
        if len(tag) != _TAG_BYTES:
            return False
        key = (self._pinned or self._open_keys()).by_id.get((purpose, tag[:16]))
        key = key or self._load_rotated(purpose, tag[:16])
        if key is None:
            return False
        return hmac.compare_digest(key.hmac_sha256(message), tag[16:])

    @property
    def is_at_hand(self) -> bool:
        return self._pinned is not None and time.monotonic() - self._looked_at <= _LOOK_SECONDS

    def verify_held(self, purpose: Purpose, message: bytes, tag: bytes) -> bool:
        if self._pinned is None or len(tag) != _TAG_BYTES:
            return False
        key = self._pinned.by_id.get((purpose, tag[:16]))
        return key is not None and hmac.compare_digest(key.hmac_sha256(message), tag[16:])

    def verify_all(self, purpose: Purpose, tagged: Iterable[tuple[bytes, bytes]]) -> bool:
        keys = (self._pinned or self._open_keys()).by_id
        own, key = b"", None
        made, found = [], []
        for message, tag in tagged:
            if len(tag) != _TAG_BYTES:
                return False
            if tag[:16] != own:
                own = tag[:16]
                key = keys.get((purpose, own)) or self._load_rotated(purpose, own)
            if key is None:
                return False
            made.append(own + key.hmac_sha256(message))
            found.append(tag)
        # One after another, in one comparison: each is of the same length, or none is right.
        return hmac.compare_digest(b"".join(made), b"".join(found))

    def sign(self, message: bytes, *, key_id: UUID | None = None) -> Signature:
        keys = self._pinned or self._open_keys()
        key = keys.active[Purpose.CHECKPOINT]
        if key_id is not None and key_id != key.id:
            named = keys.by_id.get((Purpose.CHECKPOINT, key_id.bytes))
            if named is None:
                raise KeyringUnavailable(f"signing key {key_id} is not among those that open")
            key = named
        private = Ed25519PrivateKey.from_private_bytes(key.material)
        return Signature(key.id, _public(key), private.sign(message))

    def public_key(self, key_id: UUID) -> bytes | None:
        keys = (self._pinned or self._open_keys()).by_id
        key = keys.get((Purpose.CHECKPOINT, key_id.bytes)) or self._load_rotated(
            Purpose.CHECKPOINT, key_id.bytes
        )
        return _public(key) if key else None

    def public_keys(self) -> Mapping[UUID, bytes]:
        keys = (self._pinned or self._open_keys()).by_id
        return {key.id: _public(key) for (purpose, _), key in keys.items() if purpose == Purpose.CHECKPOINT}

    def seal(self, purpose: Purpose, content: bytes, *, place: Place) -> bytes:
        key = (self._pinned or self._open_keys()).active[purpose]
        return seal(content, data_key=key, context=_context(place))

    def open(self, purpose: Purpose, envelope: bytes, *, place: Place) -> bytes:
        try:
            return open_envelope(
                envelope, data_key_for=lambda key_id: self._key(purpose, key_id), context=_context(place)
            )
        except EnvelopeError as error:
            raise NotSealedHere("it was edited, or belongs to another place") from error

    def _key(self, purpose: Purpose, key_id: UUID) -> PlainKey:
        key = (self._pinned or self._open_keys()).by_id.get((purpose, key_id.bytes))
        key = key or self._load_rotated(purpose, key_id.bytes)
        if key is None:
            raise UnknownDataKey("no system key of this purpose has this id")
        return key

    def open_all(self) -> None:
        if self._pinned is None:
            self._open_keys()
        elif time.monotonic() - self._looked_at > _LOOK_SECONDS and not is_in_transaction():
            try:
                self.refresh()
            except (SecretError, DatabaseError) as error:
                # What is pinned is as good as it was: it continues, and looks again in a minute.
                _log.warning("cannot look whether system keys were replaced: %s", error)

    def refresh(self) -> None:
        with self._lock:
            self._looked_at = time.monotonic()
            if self._pinned is not None:
                self._pinned = _load_new_keys(self._pinned)

    def _load_rotated(self, purpose: Purpose, key_id: bytes) -> PlainKey | None:
        """Return a key that was made after this process opened its own, if there is one of this id."""
        stored = _system_rows().filter(uuid=UUID(bytes=key_id), purpose=purpose)
        if self._pinned is None or not stored.exists():
            return None
        try:
            _warn_of_waiting()
            self.refresh()
        except (SecretError, DatabaseError) as error:
            raise KeyringUnavailable(f"a system key cannot be opened: {error}") from error
        return self._pinned.by_id.get((purpose, key_id))

    def _open_keys(self) -> _OpenKeys:
        with self._lock:
            if self._pinned is not None:
                return self._pinned
            if self._uncommitted is not None and self._uncommitted.in_current_transaction():
                return self._uncommitted.keys
            try:
                _warn_of_waiting()
                keys, made = _open_or_make()
            except (SecretError, DatabaseError) as error:
                raise KeyringUnavailable(f"the system keys cannot be opened: {error}") from error
            if made and connection.in_atomic_block:
                self._uncommitted = _Uncommitted(self, keys)
            else:
                self.install(keys)
            return keys

    def open_with(self, opener: Callable[[DataKey], PlainKey]) -> None:
        """Open and pin the stored keys by another way than their own wraps: for a rollback.

        Raises KeyringUnavailable if one that writes does not open.
        """
        try:
            self.install(_open_stored(opener))
        except (SecretError, DatabaseError) as error:
            raise KeyringUnavailable(f"the system keys cannot be opened: {error}") from error

    def install(self, keys: _OpenKeys) -> None:
        """Keep committed keys for the life of the process, and catch up on their events."""
        self._pinned, self._uncommitted = keys, None
        self._looked_at = time.monotonic()
        if not connection.in_atomic_block:
            _record_creations(keys)
            for uuid, purpose, reason in keys.broken:
                record_integrity_violation(kind="data_key", uuid=uuid, name=purpose, reason=reason)


class _Uncommitted:
    """Keys that a transaction, still open in this thread, has made.

    They are pinned when it commits. Were they pinned before, a rollback would leave a process
    that writes tags under keys which no row holds.
    """

    def __init__(self, owner: SystemKeyring, keys: _OpenKeys) -> None:
        self.keys = keys
        self._owner = owner
        self._thread = threading.get_ident()
        transaction.on_commit(self._commit)

    def _commit(self) -> None:
        self._owner.install(self.keys)

    def in_current_transaction(self) -> bool:
        """Return whether that transaction is this thread's and still open: Django drops the callback else."""
        return threading.get_ident() == self._thread and any(
            entry[1] == self._commit for entry in connection.run_on_commit
        )


def _public(key: PlainKey) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(key.material).public_key().public_bytes_raw()


def _context(place: Place) -> Context:
    return Context(
        deployment=deployment_uuid(),
        label=place.label,
        row=place.row,
        environment=NO_ENVIRONMENT,
        parent=(place.owner.bytes,),
    )


def _warn_of_waiting() -> None:
    if provider().remote and connection.in_atomic_block:
        _log.warning(
            "the system keys are opened over the network inside a transaction: call open_all() first"
        )


def _open_or_make() -> tuple[_OpenKeys, bool]:
    """Return all system keys, and whether some were made just now."""
    keys = _open_stored()
    missing = [purpose for purpose in Purpose if purpose not in keys.active]
    if not missing:
        return keys, False
    _require_not_lost(missing, keys)
    try:
        made = _make(missing)
    except (IntegrityError, MigrationMoved):
        # Another process was first: its keys are the deployment's.
        return _open_or_make()
    for row, key in made:
        keys.add(row, key)
    return keys, True


def _open_stored(opener: Callable[[DataKey], PlainKey] = unwrap) -> _OpenKeys:
    keys = _OpenKeys()
    for row in _system_rows():
        try:
            keys.add(row, opener(row))
        except SecretError as error:
            if row.active:
                raise
            # An old key only verifies: without it some tags fail, which is visible enough.
            keys.broken.append((row.uuid, row.purpose, str(error)))
    return keys


def _load_new_keys(known: _OpenKeys) -> _OpenKeys:
    """Return the keys of a process and those that were made since; raises KeyUnavailable.

    One that was edited is as if it were not there: nothing was ever written under it.
    """
    keys = _OpenKeys(active=dict(known.active), by_id=dict(known.by_id), broken=known.broken)
    for row in _system_rows():
        key = known.by_id.get((Purpose(row.purpose), row.uuid.bytes))
        try:
            keys.add(row, key or unwrap(row))
        except (EnvelopeError, KeyRefused) as error:
            _log.warning("system key %s does not open: %s", row.uuid, error)
    return keys


def _system_rows() -> QuerySet[DataKey]:
    return DataKey.objects.filter(scope=NO_ENVIRONMENT, purpose__in=list(Purpose)).order_by("pk")


def _require_not_lost(missing: Iterable[Purpose], keys: _OpenKeys) -> None:
    """Raise KeyringUnavailable if a missing key existed before and must not be created again."""
    stored = {purpose for purpose, _ in keys.by_id}
    events = AuditEvent.objects.filter(
        stream=streams.SYSTEM, action=Action.DATA_KEY_CREATE, object_name__in=[*missing]
    )
    lost = stored.intersection(missing) | set(events.values_list("object_name", flat=True))
    if lost:
        names = ", ".join(sorted(lost))
        raise KeyringUnavailable(
            f"the active system keys for {names} are gone from the data key table: restore it from its backup"
        )


def _make(missing: Iterable[Purpose]) -> list[tuple[DataKey, PlainKey]]:
    key_uri = provider().resolve("", fresh=True)
    made = [wrap_new(environment=None, purpose=purpose, key_uri=key_uri) for purpose in missing]
    with transaction.atomic():
        for row, _ in made:
            require_current_wrap(row)
            row.save(force_insert=True)
    return made


def _record_creations(keys: _OpenKeys) -> None:
    """Record the creation of every key whose event is not in the audit log yet."""
    if not _find_unrecorded(keys):
        return
    with transaction.atomic():
        for row in DataKey.objects.filter(uuid__in=_find_unrecorded(keys)).order_by("pk"):
            record_creation(row, stream=streams.SYSTEM, name=row.purpose, replaces=None)


def _find_unrecorded(keys: _OpenKeys) -> set[UUID]:
    ids = {key.id for key in keys.by_id.values()}
    events = AuditEvent.objects.filter(action=Action.DATA_KEY_CREATE, object_uuid__in=ids)
    return ids.difference(events.values_list("object_uuid", flat=True))
