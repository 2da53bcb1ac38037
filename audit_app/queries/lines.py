"""The lines of a list of events: what one request did to many objects is one line.

A copy of 300 secrets records 600 events, which would take a week of other events out of sight. Events of one
request lie beside each other, so that they are found without a further condition.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from django.db.models import QuerySet

from audit_app.models import AuditEvent

# Fewer of a kind are listed one by one.
FOLDED: Final = 3
# So many more events are read for a page whose first ones are few lines.
_MOST_READ: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line: its newest event, and how many equal acts of the same request it stands for."""

    event: AuditEvent
    count: int = 1

    @property
    def kinds(self) -> str:
        """What it is about many of, in words: "secrets"."""
        return f"{self.event.object_kind.replace('_', ' ')}s"


def fold(events: Iterable[AuditEvent]) -> list[Line]:
    """Return the lines of events in their order; only what has one request, actor and act is folded."""
    return [line for _, run in groupby(events, _request) for line in _of_request(list(run))]


class Filled(NamedTuple):
    """The lines of a page, the last event that they stand for, and whether there are older ones."""

    lines: list[Line]
    last: AuditEvent
    more: bool


def fill(rows: Sequence[AuditEvent], events: QuerySet[AuditEvent], *, limit: int) -> Filled | None:
    """Return the lines of a page that begins with `rows`; None where those fill it well enough.

    `events` are all that are listed, newest first. More of them are read while the lines are few, at most
    _MOST_READ; a page ends with a whole request where that was read.
    """
    if not rows or len(fold(rows)) >= limit // 2:
        return None
    read, chunk, more = list(rows), limit * 4, True
    while more and len(read) < _MOST_READ and len(fold(read)) < limit // 2:
        found = list(events.filter(pk__lt=read[-1].pk)[:chunk])
        read += found
        more = len(found) == chunk
    lines: list[Line] = []
    shown = 0
    for _, run in groupby(read, _request):
        if len(lines) >= limit:
            break
        of_request = list(run)
        lines += _of_request(of_request)
        shown += len(of_request)
    return Filled(lines, read[shown - 1], more or shown < len(read))


def _request(event: AuditEvent) -> object:
    return (event.request_id, event.actor_uuid) if event.request_id else event.pk


def _of_request(events: list[AuditEvent]) -> Iterator[Line]:
    alike: dict[tuple[str, ...], list[AuditEvent]] = {}
    for event in events:
        key = (event.action, event.outcome, event.stream, event.object_kind)
        alike.setdefault(key, []).append(event)
    for same in alike.values():
        if len(same) < FOLDED or not same[0].request_id:
            yield from (Line(event=event) for event in same)
        else:
            yield Line(event=same[0], count=len(same))
