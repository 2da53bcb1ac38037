"""The only writer of the audit log: appends events to a stream, hands out receipts, counts events.

The labels of the counter are words of the audit log's vocabulary, so that their number is bounded.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol
from uuid import uuid5

from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import CharField
from django.utils import timezone
from prometheus_client import Counter, Histogram

from audit_app.crypto.hash_chain import (
    CreatedItem,
    EventFields,
    Link,
    canonical_bytes,
    event_hash,
    genesis,
    manifest_digest,
)
from audit_app.errors import StreamForked
from audit_app.events import actors, streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor
from audit_app.interfaces import Purpose, keyring
from audit_app.models import ReadManifest, deployment_uuid
from audit_app.recording import event_store
from audit_app.recording.drafts import (
    MAKER,
    AuditObject,
    DigestedReads,
    EventDraft,
    ManifestEntry,
    Read,
    Receipt,
)
from core.canonical_json import Json, details_text, utc_text
from core.db.identity import random_uuids
from core.db.prepared import Argument, PreparedQuery

# MariaDB's number for a row that changed since it was read: the transaction is repeated (`is_collision`).
_RECORD_CHANGED: Final = 1020
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

EVENTS: Final = Counter("keeper_events", "Committed events of the audit log.", ["action", "outcome"])
APPEND_SECONDS: Final = Histogram(
    "keeper_audit_append_seconds", "Time until a read's event is committed.", buckets=_SECONDS
)


class Counted(Protocol):
    """What an event is counted by."""

    @property
    def action(self) -> str:
        """What was done."""

    @property
    def outcome(self) -> str:
        """How it ended."""


def count_events(drafts: Iterable[Counted]) -> None:
    """Count events that were written, once they are committed; those of a rolled back transaction never."""
    if connection.in_atomic_block:
        transaction.on_commit(lambda: _count(drafts))
    else:
        _count(drafts)


def _count(drafts: Iterable[Counted]) -> None:
    kinds: dict[tuple[str, str], int] = {}
    for draft in drafts:
        kind = draft.action, draft.outcome
        kinds[kind] = kinds.get(kind, 0) + 1
    for (action, outcome), number in kinds.items():
        _counter_of(action, outcome).inc(number)


@cache
def _counter_of(action: str, outcome: str) -> Counter:
    """Return the counter of a kind of event: looking a label up takes a lock, and comes with each read."""
    return EVENTS.labels(str(action), str(outcome))


def record(
    *,
    actor: Actor,
    action: Action,
    stream: str,
    object: AuditObject,
    outcome: Outcome = Outcome.ALLOWED,
    details: Mapping[str, Json] | None = None,
    manifest: Sequence[Read] | DigestedReads | None = None,
    covers: frozenset[bytes] = frozenset(),
) -> Receipt:
    """Append one event, in the caller's transaction or else in its own.

    Raises BadDetails if the details have no canonical form, KeyringUnavailable if the key of
    the audit log is not open, and whatever the database raises: no record, no act.
    """
    draft = EventDraft(
        actor=actor, action=action, stream=stream, object=object, outcome=outcome,
        details=details, manifest=manifest, covers=covers,
    )  # fmt: skip
    return record_many([draft])[0]


def record_many(
    drafts: Sequence[EventDraft], *, locked: Mapping[str, event_store.Head] = MappingProxyType({})
) -> list[Receipt]:
    """Append any number of events, of any streams, as `record` does one.

    `locked` are heads that the caller's transaction has locked, after all other rows.
    """
    committed = not connection.in_atomic_block
    # Without a savepoint: where the record fails, the caller's change must not survive either.
    with transaction.atomic(savepoint=False):
        receipts = _append(drafts, committed=committed, locked=locked)
    count_events(drafts)
    return receipts


def commit_record(
    *,
    actor: Actor,
    action: Action,
    stream: str,
    object: AuditObject,
    outcome: Outcome = Outcome.ALLOWED,
    details: Mapping[str, Json] | None = None,
    manifest: Sequence[Read] | DigestedReads | None = None,
    covers: frozenset[bytes] = frozenset(),
    released: bool = False,
) -> Receipt:
    """Append one event that is committed when this returns; its receipt opens what it covers.

    Raises RuntimeError inside a transaction (an outer rollback could undo the record), else as `record`
    does.
    """
    draft = EventDraft(
        actor=actor, action=action, stream=stream, object=object, outcome=outcome,
        details=details, manifest=manifest, covers=covers, released=released,
    )  # fmt: skip
    return commit_records([draft])[0]


def commit_records(
    drafts: Sequence[EventDraft], *, seen: Mapping[str, event_store.Head] = MappingProxyType({})
) -> list[Receipt]:
    """Append any number of events, of any streams, in one transaction; return their receipts in this order.

    They are committed when this returns. `seen` are heads as they were a moment ago: a server is not asked
    to lock them, unless one has moved since. Raises as `commit_record` does; then none is recorded.
    """
    if not drafts:
        # A batch of refusals must not wait for the lock of the database.
        return []
    with APPEND_SECONDS.time():
        # Opening the keys may record as well: before any head is locked.
        keyring().open_all()
        receipts = _append_to_seen(drafts, seen)
        if receipts is None:
            with transaction.atomic(durable=True):
                receipts = _append(drafts, committed=True)
    count_events(drafts)
    return receipts


def _append(
    drafts: Sequence[EventDraft],
    *,
    committed: bool,
    locked: Mapping[str, event_store.Head] = MappingProxyType({}),
) -> list[Receipt]:
    """Append events to their streams; return their receipts in this order."""
    if not drafts:
        return []
    # All that can be done before the heads are locked is: others wait for them.
    ready = [*map(_ready, drafts)]
    streams = {draft.stream for draft in drafts}
    heads = locked if streams == locked.keys() else _locked_heads(streams)
    chained = _chain(heads, ready, committed=committed)
    if not event_store.append(chained.entries, chained.moves, is_last=committed):
        if connection.vendor == "mysql":
            # Another node of a cluster moved it: its locks are not known here.
            raise OperationalError(_RECORD_CHANGED, "the head of a stream moved on another node")
        raise StreamForked("the head of a stream moved while it was locked")
    return chained.receipts


def _append_to_seen(
    drafts: Sequence[EventDraft], seen: Mapping[str, event_store.Head]
) -> list[Receipt] | None:
    """Append events to heads that are not locked; None, with nothing stored, if one has moved.

    The statements of a server's message are carried out in order, and the first one that fails ends it.
    """
    streams = {draft.stream for draft in drafts}
    if connection.vendor != "mysql" or connection.in_atomic_block or not streams <= seen.keys():
        return None
    with transaction.atomic(durable=True):
        heads = {stream: seen[stream] for stream in sorted(streams)}
        chained = _chain(heads, [*map(_ready, drafts)], committed=True)
        if event_store.append(chained.entries, chained.moves, is_last=True):
            return chained.receipts
        transaction.set_rollback(True)
    return None


class _Ready(NamedTuple):
    """A draft with all that can be done before the head is locked."""

    draft: EventDraft
    details: str
    manifest: ReadManifest | None = None


def _ready(draft: EventDraft) -> _Ready:
    details, via = draft.details, draft.actor.via
    if via:
        # The client by which a person acted.
        details = {**(details or {}), "via": via}
    return _Ready(draft, details_text(details), _manifest(draft.manifest))


class _Chained(NamedTuple):
    """Events chained to the heads of their streams: what is stored, their receipts, and how heads move."""

    entries: list[event_store.Entry]
    receipts: list[Receipt]
    moves: list[event_store.Move]


def _chain(heads: Mapping[str, event_store.Head], ready: Sequence[_Ready], *, committed: bool) -> _Chained:
    at, keys, ends = timezone.now(), keyring(), dict(heads)
    told_at, stored_at = utc_text(at), event_store.stored_time(at)
    entries, receipts = [], []
    for uuid, (draft, text, manifest) in zip(random_uuids(len(ready)), ready, strict=True):
        last, previous = ends[draft.stream]
        fields = _fields(uuid, draft, last + 1, told_at, text, manifest.digest if manifest else None)
        link_hash = event_hash(previous, canonical_bytes(fields))
        link = Link(fields, previous, link_hash, keys.mac(Purpose.AUDIT_MAC, link_hash))
        entries.append(event_store.Entry(link, stored_at, manifest.pk if manifest else None))
        receipts.append(
            Receipt(
                MAKER, uuid, draft.stream, last + 1, draft.covers,
                committed=committed, released=draft.released,
            )
        )  # fmt: skip
        ends[draft.stream] = (last + 1, link_hash)
    moves = [event_store.Move(stream, since, ends[stream]) for stream, since in heads.items()]
    return _Chained(entries, receipts, moves)


def _fields(
    uuid: str, draft: EventDraft, sequence: int, at: str, details: str, digest: str | None
) -> EventFields:
    actor, target = draft.actor, draft.object
    return EventFields(
        uuid, draft.stream, sequence, at,
        str(actor.kind), actor.uuid.hex, actor.name, str(draft.action),
        target.kind, target.uuid.hex, target.name, str(draft.outcome),
        actor.address, actor.request_id, details, digest,
    )  # fmt: skip


def _locked_heads(names: AbstractSet[str]) -> dict[str, event_store.Head]:
    """Lock the heads of streams, after opening those that are new."""
    heads = event_store.locked_heads(names)
    if missing := names - heads.keys():
        for stream in sorted(missing):
            _open_stream(stream)
        # Opening moves the head of the system stream, which may be among these.
        heads = event_store.locked_heads(names)
    if missing := names - heads.keys():
        raise StreamForked(f"stream {min(missing)} could not be opened")
    return heads


def _open_stream(stream: str) -> None:
    """Create a stream's head, and record its existence in the system stream."""
    if stream != streams.SYSTEM:
        # The system head's lock is what lets only one of several writers open the stream.
        _locked_heads({streams.SYSTEM})
        if event_store.locked_heads({stream}):
            return
        _append(
            [
                EventDraft(
                    actor=actors.system(),
                    action=Action.STREAM_OPEN,
                    stream=streams.SYSTEM,
                    object=AuditObject("stream", uuid5(deployment_uuid(), stream), stream),
                )
            ],
            committed=False,
        )
    event_store.open_head(stream, genesis(deployment_uuid(), stream))


_MANIFEST: Final = PreparedQuery(
    lambda: ReadManifest.objects.filter(digest=Argument(0, CharField())).order_by()
)


def _manifest(listed: Sequence[Read] | Sequence[CreatedItem] | DigestedReads | None) -> ReadManifest | None:
    """Return the manifest of an event about many, shared by every equal read."""
    if listed is None:
        return None
    digest = listed.digest if isinstance(listed, DigestedReads) else manifest_digest(listed)
    if not isinstance(listed, DigestedReads) and listed and len(listed[0]) > len(ManifestEntry._fields):
        # What was just created is in no manifest yet.
        return _stored_manifest(digest, listed)
    stored = _MANIFEST.first(digest)
    if stored is None:
        entries = listed.entries() if isinstance(listed, DigestedReads) else listed
        stored = _new_manifest(digest, entries)
    return stored


def _new_manifest(digest: str, entries: Sequence[Read] | Sequence[CreatedItem]) -> ReadManifest:
    try:
        with transaction.atomic():
            return _stored_manifest(digest, entries)
    except IntegrityError:
        # An equal read came first; its items are committed along with its manifest.
        return ReadManifest.objects.get(digest=digest)


def _stored_manifest(digest: str, entries: Sequence[Read] | Sequence[CreatedItem]) -> ReadManifest:
    manifest = ReadManifest.objects.create(digest=digest, size=len(entries))
    event_store.insert_items(manifest.pk, [(uuid.replace("-", ""), *rest) for uuid, *rest in entries])
    return manifest
