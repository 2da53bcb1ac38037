"""The only writer of the audit log: appends events to a stream and hands out receipts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID, uuid5

from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from audit_app.crypto.canonical_json import Json, details_text, utc_text
from audit_app.crypto.hash_chain import (
    EventFields,
    Link,
    canonical_bytes,
    event_hash,
    genesis,
    manifest_digest,
)
from audit_app.errors import AuditError, MixedStreams, StreamForked
from audit_app.events import actors, streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor
from audit_app.interfaces.keyring import Purpose, keyring
from audit_app.models import ReadManifest, deployment_uuid
from audit_app.models.uuid_model import random_uuids
from audit_app.recording import event_store
from audit_app.recording.group_commit import HEADS, GroupCommit, Head
from audit_app.recording.metrics import APPEND_SECONDS, count_events

_EVENTS_PER_GROUP = 100


class AuditObject(NamedTuple):
    """What was acted on, under the name it had then."""

    kind: str
    uuid: UUID
    name: str


class ManifestEntry(NamedTuple):
    """One version of one secret that a read took along; the secret's uuid as text."""

    secret_uuid: str
    number: int
    name: str


# What a manifest takes: such an entry, or the same as a plain tuple, which costs a read of many less.
Read: TypeAlias = tuple[str, int, str]


@dataclass(frozen=True)
class DigestedReads:
    """The entries of a manifest by the digest that they have; asked for only if none is stored with it."""

    digest: str
    entries: Callable[[], Sequence[Read]]


class EventDraft(NamedTuple):
    """An event before it has a place in its stream.

    `details` holds str, int, bool, None, lists and dicts only, and never a value of a secret.
    `covers` names the rows (secret versions, credentials) that the receipt lets open, by the bytes of
    their uuids.
    """

    actor: Actor
    action: Action
    stream: str
    object: AuditObject
    outcome: Outcome = Outcome.ALLOWED
    details: Mapping[str, Json] | None = None
    manifest: Sequence[Read] | DigestedReads | None = None
    covers: frozenset[bytes] = frozenset()


class Receipt:
    """The proof that an event was recorded; only this module makes one.

    `committed` is true if the event was durable when the receipt was returned, and false if it joined a
    transaction that may still be rolled back. Only a committed receipt opens values, and only those of the
    rows that it covers.
    """

    __slots__ = ("_committed", "_covers", "_event_uuid", "_sequence", "_stream")

    def __init__(self, maker: object, draft: EventDraft, fields: EventFields, *, committed: bool) -> None:
        if maker is not _MAKER:
            raise TypeError("a receipt is made by recording an event")
        self._event_uuid = fields.uuid
        self._stream = fields.stream
        self._sequence = fields.sequence
        self._committed = committed
        self._covers = draft.covers

    @property
    def event_uuid(self) -> UUID:
        return UUID(self._event_uuid)

    @property
    def stream(self) -> str:
        """The event's stream."""
        return self._stream

    @property
    def sequence(self) -> int:
        """The event's place in its stream, from 1."""
        return self._sequence

    @property
    def committed(self) -> bool:
        """Whether the event was durable when the receipt was handed out."""
        return self._committed

    def covers(self, uuid: UUID) -> bool:
        """Return whether the event was recorded for opening this row."""
        return uuid.bytes in self._covers

    def covers_all(self, uuids: Iterable[bytes]) -> bool:
        """Return whether the event was recorded for opening each of these rows."""
        return self._covers.issuperset(uuids)

    def __repr__(self) -> str:
        state = "committed" if self._committed else "joined"
        return f"<Receipt {self._stream} #{self._sequence} {state}>"


_MAKER: Final = object()


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


def record_many(drafts: Sequence[EventDraft]) -> list[Receipt]:
    """Append any number of events of one stream under one lock, as `record` does one.

    Raises MixedStreams if they belong to more than one.
    """
    committed = not connection.in_atomic_block
    # Without a savepoint: where the record fails, the caller's change must not survive either.
    with transaction.atomic(savepoint=False):
        receipts = _append(drafts, committed=committed)
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
) -> Receipt:
    """Append one event that is committed when this returns; its receipt opens what it covers.

    Threads that record at the same time commit together. Raises RuntimeError inside a transaction
    (an outer rollback could undo the record), else as `record` does.
    """
    draft = EventDraft(
        actor=actor, action=action, stream=stream, object=object, outcome=outcome,
        details=details, manifest=manifest, covers=covers,
    )  # fmt: skip
    with APPEND_SECONDS.time():
        receipt = _committed(draft)
    count_events([draft])
    return receipt


def _committed(draft: EventDraft) -> Receipt:
    if draft.manifest is not None or connection.in_atomic_block:
        return _commit_alone(draft)
    # Opening the keys may record as well, which a group that is being written could not wait for.
    keyring().open_all()
    return _GROUPS.commit(draft.stream, _Ready(draft, details_text(draft.details)))


def _commit_alone(draft: EventDraft) -> Receipt:
    with transaction.atomic(durable=True):
        return _append([draft], committed=True)[0]


def _commit_together(group: "Sequence[_Ready]") -> list[Receipt]:
    """Commit events of one stream; of a stream that has to be opened, none."""
    stream = group[0].draft.stream
    known = HEADS.get(stream) if event_store.takes_several() else None
    if known:
        chained = _chain(known, group, committed=True)
        if event_store.commit_at_once(stream, chained.entries, after=known):
            return _left(stream, chained)
        HEADS.moved_by_others(stream)
    with event_store.plain_transaction(stream) as head:
        if head is None:
            return []
        chained = _chain(head, group, committed=True)
        _store(stream, chained, after=head)
    return _left(stream, chained)


def _left(stream: str, chained: "_Chained") -> list[Receipt]:
    """Remember where a commit left the head, and return what it gave."""
    HEADS.left(stream, chained.head)
    return chained.receipts


def _append(drafts: Sequence[EventDraft], *, committed: bool) -> list[Receipt]:
    if not drafts:
        return []
    stream = drafts[0].stream
    if any(draft.stream != stream for draft in drafts):
        raise MixedStreams("one call records events of one stream")
    # All that can be done before the head is locked is: others wait for it.
    ready = [_Ready(draft, details_text(draft.details), _manifest(draft.manifest)) for draft in drafts]
    head = _locked_head(stream)
    chained = _chain(head, ready, committed=committed)
    _store(stream, chained, after=head)
    return chained.receipts


class _Ready(NamedTuple):
    """A draft with all that can be done before the head is locked."""

    draft: EventDraft
    details: str
    manifest: ReadManifest | None = None


class _Chained(NamedTuple):
    """Events chained to a head: what is stored of them, their receipts, and the head after them."""

    entries: list[event_store.Entry]
    receipts: list[Receipt]
    head: Head


def _chain(head: Head, ready: Sequence[_Ready], *, committed: bool) -> _Chained:
    """Chain events to a head."""
    first, previous = head
    at, keys = timezone.now(), keyring()
    told_at, stored_at = utc_text(at), event_store.stored_time(at)
    entries, receipts = [], []
    uuids = random_uuids(len(ready))
    for sequence, (uuid, (draft, text, manifest)) in enumerate(zip(uuids, ready, strict=True), first + 1):
        fields = _fields(uuid, draft, sequence, told_at, text, manifest.digest if manifest else None)
        link_hash = event_hash(previous, canonical_bytes(fields))
        link = Link(fields, previous, link_hash, keys.mac(Purpose.AUDIT_MAC, link_hash))
        entries.append(event_store.Entry(link, stored_at, manifest.pk if manifest else None))
        receipts.append(Receipt(_MAKER, draft, fields, committed=committed))
        previous = link_hash
    return _Chained(entries, receipts, (first + len(ready), previous))


def _store(stream: str, chained: _Chained, *, after: Head) -> None:
    """Store what was chained to a locked head, which moves to the last of it."""
    if not event_store.append(stream, chained.entries, after=after[0]):
        raise StreamForked(f"the head of stream {stream} moved while it was locked")


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


def _locked_head(stream: str) -> Head:
    """Lock a stream's head, after opening the stream if it is new."""
    head = event_store.locked_head(stream)
    if head is None:
        _open_stream(stream)
        head = event_store.locked_head(stream)
    if head is None:
        raise StreamForked(f"stream {stream} could not be opened")
    return head


def _open_stream(stream: str) -> None:
    """Create a stream's head, and record its existence in the system stream."""
    if stream != streams.SYSTEM:
        # The system head's lock is what lets only one of several writers open the stream.
        _locked_head(streams.SYSTEM)
        if event_store.locked_head(stream) is not None:
            return
        _append([_opening(stream)], committed=False)
    event_store.open_head(stream, genesis(deployment_uuid(), stream))


def _opening(stream: str) -> EventDraft:
    return EventDraft(
        actor=actors.system(),
        action=Action.STREAM_OPEN,
        stream=streams.SYSTEM,
        object=AuditObject("stream", uuid5(deployment_uuid(), stream), stream),
    )


def _manifest(reads: Sequence[Read] | DigestedReads | None) -> ReadManifest | None:
    """Return the manifest of a read, shared by every equal read."""
    if reads is None:
        return None
    digest = reads.digest if isinstance(reads, DigestedReads) else manifest_digest(reads)
    stored = ReadManifest.objects.filter(digest=digest).first()
    if stored is None:
        entries = reads.entries() if isinstance(reads, DigestedReads) else reads
        stored = _new_manifest(digest, entries)
    return stored


def _new_manifest(digest: str, entries: Sequence[Read]) -> ReadManifest:
    try:
        with transaction.atomic():
            manifest = ReadManifest.objects.create(digest=digest, size=len(entries))
    except IntegrityError:
        # An equal read came first; its items are committed along with its manifest.
        return ReadManifest.objects.get(digest=digest)
    event_store.insert_items(
        manifest.pk, [(uuid.replace("-", ""), number, name) for uuid, number, name in entries]
    )
    return manifest


_GROUPS: Final = GroupCommit(
    together=_commit_together,
    alone=lambda ready: _commit_alone(ready.draft),
    errors=(DatabaseError, AuditError),
    largest=_EVENTS_PER_GROUP,
)
