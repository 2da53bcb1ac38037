"""What is recorded, and the receipt for it: events before they have a place in a stream."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias, TypedDict
from uuid import UUID

from audit_app.crypto.hash_chain import CreatedItem, ReadItem
from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor
from core.canonical_json import Json


class AuditObject(NamedTuple):
    """What was acted on, under the name it had then."""

    kind: str
    uuid: UUID
    name: str


class _Place(TypedDict):
    stream: str
    object: AuditObject


def stream_and_object(row: Any) -> _Place:
    """Return the arguments of `record` that name a row of an environment by its own audit object."""
    return {"stream": streams.environment_stream(row.environment.uuid), "object": row.audit_object}


class ManifestEntry(NamedTuple):
    """One version of one secret that a read took along; the secret's uuid as text."""

    secret_uuid: str
    number: int
    name: str


# What a manifest takes: such an entry, or the same as a plain tuple, which costs a read of many less.
Read: TypeAlias = ReadItem


@dataclass(frozen=True)
class DigestedReads:
    """The entries of a manifest by the digest that they have; asked for only if none is stored with it."""

    digest: str
    entries: Callable[[], Sequence[Read]]


class EventDraft(NamedTuple):
    """An event before it has a place in its stream.

    `details` holds str, int, bool, None, lists and dicts only, and never a value of a secret.
    `covers` names the rows (secret versions, credentials) that the receipt lets open, by the bytes of
    their uuids. `released` lets it open guarded ones among them.
    """

    actor: Actor
    action: Action
    stream: str
    object: AuditObject
    outcome: Outcome = Outcome.ALLOWED
    details: Mapping[str, Json] | None = None
    manifest: Sequence[Read] | Sequence[CreatedItem] | DigestedReads | None = None
    covers: frozenset[bytes] = frozenset()
    released: bool = False


# Only what holds it makes receipts: the recorder, and `receipt_of_peer`.
MAKER: Final = object()


class Receipt:
    """The proof that an event was recorded; the recorder makes it.

    `committed` is true if the event was durable when the receipt was returned, and false if it joined a
    transaction that may still be rolled back. Only a committed receipt opens values, and only those of the
    rows that it covers; guarded values only if it was `released` for them.
    """

    __slots__ = ("_committed", "_covers", "_event_uuid", "_released", "_sequence", "_stream")

    def __init__(
        self,
        maker: object,
        event: str,
        stream: str,
        sequence: int,
        covers: frozenset[bytes],
        *,
        committed: bool,
        released: bool = False,
    ) -> None:
        if maker is not MAKER:
            raise TypeError("a receipt is made by recording an event")
        self._event_uuid = event
        self._stream = stream
        self._sequence = sequence
        self._committed = committed
        self._covers = covers
        self._released = released

    @property
    def event_uuid(self) -> UUID:
        return UUID(self._event_uuid)

    @property
    def stream(self) -> str:
        return self._stream

    @property
    def sequence(self) -> int:
        """The event's place in its stream, from 1."""
        return self._sequence

    @property
    def committed(self) -> bool:
        """Whether the event was durable when the receipt was handed out."""
        return self._committed

    @property
    def released(self) -> bool:
        """Whether it opens guarded values."""
        return self._released

    def covers(self, uuid: UUID) -> bool:
        """Return whether the event was recorded for opening this row."""
        return uuid.bytes in self._covers

    def covers_all(self, uuids: Iterable[bytes]) -> bool:
        """Return whether the event was recorded for opening each of these rows."""
        return self._covers.issuperset(uuids)

    def __repr__(self) -> str:
        state = "committed" if self._committed else "joined"
        return f"<Receipt {self._stream} #{self._sequence} {state}>"


def receipt_of_peer(*, event: UUID, stream: str, sequence: int, covers: frozenset[bytes]) -> Receipt:
    """Return the receipt of an event that another process of this Keeper committed for this one.

    Only for what came by a socket that forks of this program alone have.
    """
    return Receipt(MAKER, event.hex, stream, sequence, covers, committed=True)
