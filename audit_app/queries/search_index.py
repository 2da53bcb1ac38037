"""Fills the search table from committed events, stream by stream, in the order of their sequences.

A step is one transaction: the rows of a few hundred events, and how far the table has come with their
stream. So a crash leaves nothing half done, and two workers take turns. Ids would be no position: the higher
of two may be committed first.
"""

import time
from collections.abc import Callable, Collection, Iterator
from functools import cache
from typing import Final

from django.db import OperationalError, connection, transaction
from django.db.models import BigIntegerField, Exists, F, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from audit_app.models import AuditEvent, SearchEntry, SearchPosition, StreamHead
from core.db.concurrency import is_collision, retry_collisions

# Writers of events wait for a step on SQLite: 250 rows take about 10 ms.
EVENTS_PER_STEP: Final = 250
_CAUGHT_UP_BY_A_SEARCH: Final = 2_000
_ROWS_PER_QUERY: Final = 2_000
_COLUMNS: Final = ("outcome", "address", "request_id", "actor_name", "object_name", "manifest_id")


def behind() -> int:
    """Return how many committed events the search table lacks."""
    missing = F("sequence") - Coalesce(F("search_position__sequence"), 0)
    total: int | None = _heads_ahead().aggregate(total=Sum(missing, output_field=BigIntegerField()))["total"]
    return total or 0


def lag_text(count: int) -> str:
    """Return the warning of a page about a search table that lacks so many events."""
    events = "event" if count == 1 else "events"
    return f"The search is {count:,} {events} behind: events may be missing, above all the newest."


def fill(*, seconds: float | None = None, progress: Callable[[int], None] | None = None) -> int:
    """Add what is missing, for so long at most, and return how many events were passed.

    Any number of workers may call it. Not to be called within a transaction.
    """
    until = None if seconds is None else time.monotonic() + seconds
    count = 0
    for stream in _streams_ahead():
        while passed := retry_collisions(lambda stream=stream: _step(stream)):  # type: ignore[misc]  # bound early
            count += passed
            if progress:
                progress(count)
            if until is not None and time.monotonic() > until:
                return count
    return count


def catch_up() -> int:
    """Add what is missing if that is little, and return how many events the search table lacks then.

    For a search, before it: a collision with a writer is no reason to fail, and leaves events missing.
    """
    lacking = behind()
    if not 0 < lacking <= _CAUGHT_UP_BY_A_SEARCH:
        return lacking
    try:
        for stream in _streams_ahead():
            while _step(stream):
                pass
    except OperationalError as error:
        if not is_collision(error):
            raise
    return behind()


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


def _heads_ahead() -> QuerySet[StreamHead]:
    unknown, earlier = Q(search_position=None), Q(search_position__sequence__lt=F("sequence"))
    return StreamHead.objects.filter(unknown | earlier)


def _streams_ahead() -> Iterator[str]:
    yield from list(_heads_ahead().order_by("stream").values_list("stream", flat=True))


def _step(stream: str) -> int:
    """Add the next events of a stream, and return by how much its position moved; 0 if it is complete."""
    with transaction.atomic():
        rows = SearchPosition.objects.select_for_update().filter(head_id=stream)
        position = rows.first()
        if position is None:
            SearchPosition.objects.bulk_create([SearchPosition(head_id=stream)], ignore_conflicts=True)
            position = rows.get()
        after = position.sequence
        # Read under the lock: the events up to a committed head are committed as well.
        head = StreamHead.objects.values_list("sequence", flat=True).get(stream=stream)
        until = min(after + EVENTS_PER_STEP, head)
        if until <= after:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(_statement(), [stream, after, until])
        SearchPosition.objects.filter(head_id=stream).update(sequence=until)
    return until - after


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
