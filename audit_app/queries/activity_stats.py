"""How many events of which kind each day saw, for charts of the audit log.

The audit log is only ever appended to, so that what was counted of a day that is over stays true: it is
kept in the cache, which holds numbers by stream, action and outcome and nothing of an event's own. A day
that continues is counted again each time; where it holds many events already, once a minute.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

from django.core.cache import cache
from django.db.models import CharField, Count
from django.db.models.functions import Cast, Substr
from django.utils import timezone

from audit_app.events.actors import Actor
from audit_app.interfaces.access_policy import trail_policy
from audit_app.models import AuditEvent, deployment_uuid

# An event may be committed slightly after its own timestamp.
_SETTLED: Final = timedelta(hours=1)
_KEPT_SECONDS: Final = 40 * 86_400
_MANY: Final = 10_000
_FRESH_SECONDS: Final = 60
_ISO_DAY: Final = 10


class Kind(NamedTuple):
    """What events are counted by."""

    stream: str
    action: str
    outcome: str


DayCounts = Mapping[date, Mapping[Kind, int]]


def counts_by_day(*, viewer: Actor, days: int) -> DayCounts:
    """Return what the last `days` days saw, today included, of the streams that `viewer` may read.

    One statement, over the days that are not known from before; quiet days are there, empty.
    """
    wanted = _last(days)
    counted = _counted(wanted)
    names = trail_policy().readable_streams(viewer)
    if names is None:
        return counted
    readable = frozenset(names)
    return {
        day: {kind: count for kind, count in counted[day].items() if kind.stream in readable}
        for day in wanted
    }


def _last(days: int) -> list[date]:
    today = timezone.now().astimezone(UTC).date()
    return [today - timedelta(days=back) for back in reversed(range(days))]


def _counted(days: list[date]) -> dict[date, Mapping[Kind, int]]:
    keys = {_key(day): day for day in days}
    known: dict[date, Mapping[Kind, int]] = {
        keys[key]: {Kind(*kind): count for kind, count in rows} for key, rows in cache.get_many(keys).items()
    }
    missing = [day for day in days if day not in known]
    if missing:
        fresh = _count(missing[0], missing[-1])
        known |= {day: fresh.get(day, {}) for day in missing}
        _keep({day: known[day] for day in missing if _is_settled(day)}, _KEPT_SECONDS)
        going_on = {day: known[day] for day in missing if not _is_settled(day)}
        if sum(sum(kinds.values()) for kinds in going_on.values()) >= _MANY:
            _keep(going_on, _FRESH_SECONDS)
    return {day: known[day] for day in days}


def _count(first: date, last: date) -> dict[date, Mapping[Kind, int]]:
    # The text of a time begins with its day on every database, and is cut there by the database itself:
    # SQLite would call back into Python for each row to truncate a date.
    rows = (
        AuditEvent.objects.filter(at__gte=_begin(first), at__lt=_begin(last + timedelta(days=1)))
        .order_by()
        .annotate(day=Substr(Cast("at", CharField()), 1, _ISO_DAY))
        .values_list("day", "stream", "action", "outcome")
        .annotate(count=Count("id"))
    )
    found: dict[date, Counter[Kind]] = defaultdict(Counter)
    for day, stream, action, outcome, count in rows:
        found[date.fromisoformat(day)][Kind(stream, action, outcome)] += count
    return dict(found)


def _keep(counts: DayCounts, seconds: int) -> None:
    if counts:
        kept = {
            _key(day): [(tuple(kind), count) for kind, count in kinds.items()]
            for day, kinds in counts.items()
        }
        cache.set_many(kept, seconds)


def _is_settled(day: date) -> bool:
    return timezone.now() > _begin(day + timedelta(days=1)) + _SETTLED


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _key(day: date) -> str:
    # A cache may be shared by several installations.
    return f"trail-day-{deployment_uuid()}-{day.isoformat()}"
