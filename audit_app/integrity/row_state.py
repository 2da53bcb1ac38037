"""Holds authenticated rows against the audit log, so that an old state put back by SQL is found.

A MAC proves that Keeper once wrote a row, not that the row is current: a revoked membership could be
inserted again unchanged. So the event of a change carries a digest of each written row's MAC, and the
newest event about a row determines its valid state. An event that created many rows has their digests in
its manifest (ADR 22).

The check of a table proves for each row that it is as Keeper wrote it, and in its newest state.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from django.apps import apps
from django.db.models import CharField, QuerySet
from django.db.models.functions import Cast

from audit_app.events.actions import Action, Outcome
from audit_app.integrity.check_registry import Problem
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.models import LISTED_COLUMNS, AuditEvent, ReadManifestItem
from core.canonical_json import Json, parsed_details
from core.db.bulk import in_batches

# Whose manifests may list created rows.
LISTING: Final = frozenset({Action.SECRET_CREATE, Action.SECRET_MIGRATE})
_MANIFESTS_PER_QUERY: Final = 200
ROWS_AT_ONCE: Final = 500


class Position(NamedTuple):
    """Where an event is in the audit log, and its time as text."""

    stream: str
    sequence: int
    at: str


class ListedRow(NamedTuple):
    """A row that an event created along with others, by the event's manifest."""

    uuid: UUID
    number: int
    name: str
    row_digest: str
    version_digest: str | None
    position: Position


def listed_rows(uuids: Collection[UUID] | None = None) -> Iterator[ListedRow]:
    """Yield the rows that events list as created, all of them or those of these uuids.

    Items and events are read by two statements: MariaDB reads every event for a join of both.
    """
    items = ReadManifestItem.objects.filter(row_digest__isnull=False)
    if uuids is not None:
        rows = list(items.filter(secret_uuid__in=uuids).values_list("manifest_id", *LISTED_COLUMNS))
        yield from _placed(rows)
        return
    manifests = AuditEvent.objects.filter(action__in=LISTING, manifest__isnull=False).order_by()
    known = set(manifests.values_list("manifest_id", flat=True))
    for some in in_batches(sorted(known), _MANIFESTS_PER_QUERY):
        found = items.filter(manifest__in=some).order_by()
        yield from _placed(list(found.values_list("manifest_id", *LISTED_COLUMNS)))


def _placed(rows: Sequence[tuple[Any, ...]]) -> Iterator[ListedRow]:
    positions = _positions({row[0] for row in rows})
    for manifest, *row in rows:
        for position in positions.get(manifest, ()):
            yield ListedRow._make((*row, position))


def _positions(manifests: Collection[int]) -> Mapping[int, Sequence[Position]]:
    """Return where the events are that name these manifests, by manifest; of creations alone."""
    found: dict[int, list[Position]] = defaultdict(list)
    for some in in_batches(sorted(manifests), _MANIFESTS_PER_QUERY):
        # As text, so that a time which is none ends nothing: the chain names the event.
        events = AuditEvent.objects.filter(manifest__in=some).order_by()
        columns = ("manifest_id", "action", "outcome", "stream", "sequence", Cast("at", CharField()))
        for manifest, action, outcome, *position in events.values_list(*columns).iterator(
            chunk_size=ROWS_AT_ONCE
        ):
            if action in LISTING and outcome == Outcome.ALLOWED:
                found[manifest].append(Position(*position))
    return found


_DETAIL: Final = "rows"


class LatestDigest(NamedTuple):
    """The newest recorded state of a row: a digest of its MAC, or None once the row is deleted."""

    digest: str | None
    stream: str
    sequence: int
    at: str

    def follows(self, other: "LatestDigest") -> bool:
        """Return whether this was recorded later, going only by columns that the chain covers.

        Within a stream the sequence decides, regardless of clocks; across streams, the time.
        """
        if self.stream == other.stream:
            return self.sequence > other.sequence
        return self.at > other.at


def row_digest_entry(*rows: AuthenticatedRow, gone: bool = False) -> dict[str, Json]:
    """Return the details about written or deleted (`gone`) rows for the event of a change.

    Call it after they were saved, since saving computes the MAC, and before they are deleted.
    """
    for row in rows:
        row.told_gone = gone
    return {_DETAIL: {str(row.uuid): None if gone else digest_of_mac(row.row_mac) for row in rows}}


def state_digest(row: AuthenticatedRow) -> str:
    """Return what stands for a row's covered columns as they are stored: 32 characters, no MAC."""
    return digest_of_mac(row.row_mac)


def names_rows(details: str) -> bool:
    """Return whether an event's details hold the state of rows, as `latest_digests` reads it."""
    return f'"{_DETAIL}"' in details


def latest_digests(
    actions: Iterable[str], *, rows: Iterable[AuthenticatedRow] | None = None, stream: str = ""
) -> dict[str, LatestDigest]:
    """Return the last recorded state of rows by their uuid, of the given actions' events.

    With `rows`, only of events whose object is one of them, or whose manifest lists it; with `stream`, only
    of its events; else of all such events.
    """
    uuids = None if rows is None else [row.uuid for row in rows]
    newest: dict[tuple[str, str], LatestDigest] = {}
    for uuid, state in chain(_detailed(actions, uuids, stream), _listed(actions, uuids)):
        if stream and state.stream != stream:
            continue
        known = newest.get((uuid, state.stream))
        if known is None or state.follows(known):
            newest[uuid, state.stream] = state
    found: dict[str, LatestDigest] = {}
    for (uuid, _stream), state in newest.items():
        if uuid not in found or state.follows(found[uuid]):
            found[uuid] = state
    return found


def _detailed(
    actions: Iterable[str], uuids: Sequence[UUID] | None, of_stream: str
) -> Iterator[tuple[str, LatestDigest]]:
    """Yield the states of rows that events have in their details."""
    events = AuditEvent.objects.filter(action__in=list(actions), outcome=Outcome.ALLOWED)
    if uuids is not None:
        events = events.filter(object_uuid__in=uuids)
    if of_stream:
        events = events.filter(stream=of_stream)
    # No order of the rows' ids: no MAC covers those, so that SQL can change them unseen.
    # As text, so that a time which is none ends nothing: the chain names the event.
    columns = events.values_list("details", "stream", "sequence", Cast("at", CharField()))
    for details, stream, sequence, at in columns.order_by().iterator(chunk_size=ROWS_AT_ONCE):
        for uuid, digest in _recorded_rows(details).items():
            yield uuid, LatestDigest(digest, stream, sequence, at)


def _listed(actions: Iterable[str], uuids: Sequence[UUID] | None) -> Iterator[tuple[str, LatestDigest]]:
    """Yield the states of rows that events have in their manifests."""
    if LISTING.intersection(actions):
        for row in listed_rows(uuids):
            yield str(row.uuid), LatestDigest(row.row_digest, *row.position)


def _recorded_rows(details: object) -> dict[str, str | None]:
    """Return an event's row states; none if its details are unreadable."""
    # Most events name no row; looking for the key is much cheaper than parsing.
    if not isinstance(details, str) or not names_rows(details):
        return {}
    rows = parsed_details(details).get(_DETAIL)
    return rows if isinstance(rows, dict) else {}


def mismatches(rows: Sequence[AuthenticatedRow], states: Mapping[str, LatestDigest]) -> Iterator[Problem]:
    """Yield each row that contradicts the newest event about it; rows without an event are skipped.

    `states` must have been read after the rows. A row that was changed or removed since then is skipped as
    well: the next run checks it.
    """
    for row in rows:
        state = states.get(str(row.uuid))
        if state is None or state.digest == digest_of_mac(row.row_mac) or not _still_stands(row):
            continue
        was = "was removed" if state.digest is None else "was changed later"
        yield Problem(
            kind="replayed",
            object=f"{row.MAC_LABEL} {row.pk} ({row.uuid})",
            message=f"an old state was put back: the trail says that the row {was}",
            stream=state.stream,
            sequence=state.sequence,
        )


def lost_rows() -> Iterator[Problem]:
    """Find rows that the audit log records as existing but that are missing: hidden, or rights removed."""
    states = latest_digests(acts_on_rows())
    standing = {uuid for uuid, state in states.items() if state.digest is not None}
    for model in apps.get_models():
        if issubclass(model, AuthenticatedRow):
            stored = model._base_manager.values_list("uuid", flat=True)  # noqa: SLF001 - any model
            standing.difference_update(map(str, stored.iterator(chunk_size=ROWS_AT_ONCE)))
    yield from missing_rows(standing)


def missing_rows(uuids: Collection[str]) -> Iterator[Problem]:
    """Yield the rows of these uuids that the newest event about each still calls standing."""
    # What was removed in the meantime has its event by now.
    states = latest_digests(acts_on_rows()) if uuids else {}
    for uuid in sorted(uuids):
        state = states[uuid]
        if state.digest is not None:
            yield Problem(
                kind="missing",
                object=f"{_recorded_name(uuid, state)} ({uuid})",
                message="the trail says that the row stands, and it is gone",
                stream=state.stream,
                sequence=state.sequence,
            )


def acts_on_rows() -> set[str]:
    """Return the actions of which some event names the state of a row by now."""
    events = AuditEvent.objects.filter(outcome=Outcome.ALLOWED, details__contains=f'"{_DETAIL}"')
    return {*events.values_list("action", flat=True).order_by().distinct(), *LISTING}


def _recorded_name(uuid: str, state: LatestDigest) -> str:
    """Return what the event of a state calls the row: its kind and name."""
    named = AuditEvent.objects.filter(stream=state.stream, sequence=state.sequence)
    kind, name, manifest = named.values_list("object_kind", "object_name", "manifest").first() or (
        "row", "", None,
    )  # fmt: skip
    listed = ReadManifestItem.objects.filter(manifest=manifest, secret_uuid=uuid, row_digest__isnull=False)
    item = None if manifest is None else listed.values_list("name", flat=True).first()
    return f"{kind} {name}" if item is None else f"secret {item}"


def digest_of_mac(row_mac: bytes) -> str:
    """Return the digest of a MAC that events hold: it can be compared without revealing the MAC."""
    return hashlib.sha256(bytes(row_mac)).hexdigest()[:32]


def _still_stands(row: AuthenticatedRow) -> bool:
    now = type(row)._base_manager.filter(pk=row.pk).values_list("row_mac", flat=True).first()  # noqa: SLF001 - any model
    return now is not None and bytes(now) == bytes(row.row_mac)


Row = TypeVar("Row", bound=AuthenticatedRow)


def check_rows(
    rows: QuerySet[Row],
    edited: str,
    actions: Sequence[str] = (),
    *,
    kind: str = "edited",
    of_the_rows: bool = True,
    sealed: Callable[[Row], str] | None = None,
) -> Iterator[Problem]:
    """Yield each row that Keeper did not write (the message is `edited`), or that is not in its newest state.

    The events are those of `actions`: with `of_the_rows` only those whose object is the row itself. `sealed`
    returns why the sealed columns of a genuine row do not open, or an empty text.
    """
    for batch in batches(rows):
        genuine = [row for row in batch if row.is_authentic()]
        yield from (
            Problem(kind=kind, object=object_name(row), message=edited) for row in batch if row not in genuine
        )
        if actions:
            yield from mismatches(genuine, latest_digests(actions, rows=genuine if of_the_rows else None))
        if sealed:
            closed = ((row, sealed(row)) for row in genuine)
            yield from (
                Problem(kind="sealed", object=object_name(row), message=why) for row, why in closed if why
            )


def batches(rows: QuerySet[Row]) -> Iterator[list[Row]]:
    """Yield the rows in batches, by their ids.

    What is read along must be prefetched: a join passes over a row whose key was pointed at nothing.
    """
    last = 0
    ordered = rows.order_by("pk")
    while batch := list(ordered.filter(pk__gt=last)[:ROWS_AT_ONCE]):
        last = batch[-1].pk
        yield batch


def object_name(row: AuthenticatedRow) -> str:
    """Return how a problem names a row."""
    return f"{row.MAC_LABEL} {row.pk} ({row.uuid})"
