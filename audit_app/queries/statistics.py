"""Counts for charts of the audit log: events of each day or hour by kind, and the most active actors.

The audit log is only ever appended to, so that the count of a day that is over stays true: it stays in the
cache, which holds numbers by stream, action and outcome and nothing of an event's own. A day that continues
is counted again each time; where it holds many events already, once a minute. The same goes for hours.

The most active actors come from one statement, which is cached because it reads every event.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

from django.core.cache import cache
from django.db.models import CharField, Count
from django.db.models.functions import Cast, Substr
from django.utils import timezone

from audit_app.events.actors import Actor
from audit_app.interfaces import audit_log_policy
from audit_app.models import AuditEvent, deployment_uuid

# An event may be committed slightly after its own timestamp.
_HOUR_SETTLED_AFTER: Final = timedelta(hours=1)
_COUNTS_KEPT_SECONDS: Final = 40 * 86_400
_MANY: Final = 10_000
_FRESH_SECONDS: Final = 60


class _Unit(NamedTuple):
    """What is counted together: as many characters of the text of a time as name it, and how long it is."""

    name: str
    digits: int
    length: timedelta


_DAY: Final = _Unit("day", 10, timedelta(days=1))
_HOUR: Final = _Unit("hour", 13, timedelta(hours=1))


class Kind(NamedTuple):
    """What events are counted by."""

    stream: str
    action: str
    outcome: str


DayCounts = Mapping[date, Mapping[Kind, int]]
HourCounts = Mapping[datetime, Mapping[Kind, int]]


def counts_by_day(*, viewer: Actor, days: int) -> DayCounts:
    """Return what the last `days` days saw, today included, of the streams that `viewer` may read.

    One statement, over the days that are not known from before; quiet days are there, empty.
    """
    return {begin.date(): kinds for begin, kinds in _readable(viewer, _DAY, days).items()}


def counts_by_hour(*, viewer: Actor, hours: int) -> HourCounts:
    """Return what the last `hours` hours saw, this one included; in UTC, and as `counts_by_day`."""
    return _readable(viewer, _HOUR, hours)


def _readable(viewer: Actor, unit: _Unit, number: int) -> HourCounts:
    now = timezone.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    current = now.replace(hour=0) if unit is _DAY else now
    counted = _counted(unit, [current - back * unit.length for back in reversed(range(number))])
    names = audit_log_policy().readable_streams(viewer)
    if names is None:
        return counted
    readable = frozenset(names)
    return {
        begin: {kind: count for kind, count in kinds.items() if kind.stream in readable}
        for begin, kinds in counted.items()
    }


def _counted(unit: _Unit, begins: list[datetime]) -> dict[datetime, Mapping[Kind, int]]:
    keys = {_key(unit, begin): begin for begin in begins}
    cached: dict[datetime, Mapping[Kind, int]] = {
        keys[key]: {Kind(*kind): count for kind, count in rows} for key, rows in cache.get_many(keys).items()
    }
    missing = [begin for begin in begins if begin not in cached]
    if missing:
        fresh = _count(unit, missing[0], missing[-1] + unit.length)
        cached |= {begin: fresh.get(begin, {}) for begin in missing}
        settled = {begin for begin in missing if timezone.now() > begin + unit.length + _HOUR_SETTLED_AFTER}
        _keep(unit, {begin: cached[begin] for begin in settled}, _COUNTS_KEPT_SECONDS)
        going_on = {begin: cached[begin] for begin in missing if begin not in settled}
        if sum(sum(kinds.values()) for kinds in going_on.values()) >= _MANY:
            _keep(unit, going_on, _FRESH_SECONDS)
    return {begin: cached[begin] for begin in begins}


def _count(unit: _Unit, since: datetime, until: datetime) -> dict[datetime, Mapping[Kind, int]]:
    # The text of a time begins with its day and hour on every database, and is cut there by the database
    # itself: SQLite would call back into Python for each row to truncate a date.
    rows = (
        AuditEvent.objects.filter(at__gte=since, at__lt=until)
        .order_by()
        .annotate(part=Substr(Cast("at", CharField()), 1, unit.digits))
        .values_list("part", "stream", "action", "outcome")
        .annotate(count=Count("id"))
    )
    counts: dict[datetime, Counter[Kind]] = defaultdict(Counter)
    for part, stream, action, outcome, count in rows:
        counts[datetime.fromisoformat(part).replace(tzinfo=UTC)][Kind(stream, action, outcome)] += count
    return dict(counts)


def _keep(unit: _Unit, counts: HourCounts, seconds: int) -> None:
    if counts:
        entries = {
            _key(unit, begin): [(tuple(kind), count) for kind, count in kinds.items()]
            for begin, kinds in counts.items()
        }
        cache.set_many(entries, seconds)


def _key(unit: _Unit, begin: datetime) -> str:
    # A cache may be shared by several installations.
    return f"trail-{unit.name}-{deployment_uuid()}-{begin:%Y-%m-%dT%H}"


_ACTORS_KEPT_SECONDS: Final = 300


class Active(NamedTuple):
    """An actor by the name that they acted under, and how many of their events there are."""

    name: str
    kind: str
    events: int


def top_actors(*, viewer: Actor, days: int, limit: int) -> list[Active]:
    """Return who did most in the last `days` days, today included, in the streams that `viewer` may read."""
    first = timezone.now().astimezone(UTC).date() - timedelta(days=days - 1)
    names = audit_log_policy().readable_streams(viewer)
    scope = f"{first} {limit} {sorted(names) if names is not None else None}"
    # Hashed for its length alone: an actor may read thousands of streams.
    key = f"trail-active-{deployment_uuid()}-{hashlib.sha256(scope.encode()).hexdigest()}"
    cached: list[tuple[str, str, int]] | None = cache.get(key)
    if cached is None:
        events = AuditEvent.objects.filter(at__gte=datetime.combine(first, time(), tzinfo=UTC))
        if names is not None:
            events = events.filter(stream__in=names)
        rows = events.order_by().values_list("actor_name", "actor_kind").annotate(count=Count("id"))
        cached = list(rows.order_by("-count", "actor_name")[:limit])
        cache.set(key, cached, _ACTORS_KEPT_SECONDS)
    return [Active(*row) for row in cached]
