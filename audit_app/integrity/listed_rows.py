"""Reads what the manifests of events list of the rows that they created (docs/adr/0022)."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.models import CharField
from django.db.models.functions import Cast

from audit_app.db.batches import in_batches
from audit_app.events.actions import Action, Outcome
from audit_app.models import LISTED_COLUMNS, AuditEvent, ReadManifestItem

# Whose manifests may list created rows.
LISTING: Final = frozenset({Action.SECRET_CREATE})
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
