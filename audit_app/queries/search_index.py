"""Fills the search table from committed events, stream by stream, in the order of their sequences."""

from collections.abc import Callable, Collection
from functools import cache
from typing import Final

from django.db import connection
from django.db.models import Exists, OuterRef

from audit_app.models import AuditEvent, SearchEntry, SearchPosition
from audit_app.queries.stream_follower import StreamFollower

# Writers of events wait for a step on SQLite: 250 rows take about 10 ms.
EVENTS_PER_STEP: Final = 250
_CAUGHT_UP_BY_A_SEARCH: Final = 2_000
_ROWS_PER_QUERY: Final = 2_000
_COLUMNS: Final = ("outcome", "address", "request_id", "actor_name", "object_name", "manifest_id")


def _copy(stream: str, after: int, until: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_statement(), [stream, after, until])


FOLLOWER: Final = StreamFollower(SearchPosition, "search_position", _copy, lambda: EVENTS_PER_STEP)
behind, fill = FOLLOWER.behind, FOLLOWER.fill


def catch_up() -> int:
    """Add what is missing if that is little, and return how many events the search table lacks then."""
    return FOLLOWER.catch_up(_CAUGHT_UP_BY_A_SEARCH)


def lag_text(count: int) -> str:
    """Return the warning of a page about a search table that lacks so many events."""
    events = "event" if count == 1 else "events"
    return f"The search is {count:,} {events} behind: events may be missing, above all the newest."


def rebuild(*, progress: Callable[[int], None] | None = None) -> int:
    """Write every row of the search table again and remove those without an event; return how many events.

    While it runs, searches find what they found before and count what is not confirmed as missing. A run
    that was stopped is completed by the workers, except for the removal.
    """
    SearchPosition.objects.update(sequence=0)
    count = fill(progress=progress)
    last = 0
    rows = SearchEntry.objects.order_by("event_id").values_list("event_id", flat=True)
    while ids := list(rows.filter(event_id__gt=last)[:_ROWS_PER_QUERY]):
        there = Exists(AuditEvent.objects.filter(pk=OuterRef("event_id")))
        SearchEntry.objects.filter(~there, event_id__gt=last, event_id__lte=ids[-1]).delete()
        last = ids[-1]
    return count


def remove(ids: Collection[int]) -> None:
    """Remove the rows of events that retention takes out, in its transaction."""
    SearchEntry.objects.filter(event_id__in=ids).delete()


@cache
def _statement() -> str:
    """Return the SQL that copies a range of a stream, replacing existing rows.

    MariaDB reads the events without locking them, since Keeper's transactions are READ COMMITTED.
    """
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, _COLUMNS))
    entries, events = SearchEntry._meta.db_table, AuditEvent._meta.db_table
    return (
        f"REPLACE INTO {quote(entries)} (event_id, {columns}) SELECT id, {columns} FROM {quote(events)} "  # noqa: S608 - our own names
        "WHERE stream = %s AND sequence > %s AND sequence <= %s ORDER BY sequence"
    )
