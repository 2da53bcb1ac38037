"""How many events of which kind each day or hour saw, for charts of the audit log.

The audit log is only ever appended to, so that what was counted of a day that is over stays true: it is
kept in the cache, which holds numbers by stream, action and outcome and nothing of an event's own. A day
that continues is counted again each time; where it holds many events already, once a minute. The same goes
for hours.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
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
    names = trail_policy().readable_streams(viewer)
    if names is None:
        return counted
    readable = frozenset(names)
    return {
        begin: {kind: count for kind, count in kinds.items() if kind.stream in readable}
        for begin, kinds in counted.items()
    }


def _counted(unit: _Unit, begins: list[datetime]) -> dict[datetime, Mapping[Kind, int]]:
    keys = {_key(unit, begin): begin for begin in begins}
    known: dict[datetime, Mapping[Kind, int]] = {
        keys[key]: {Kind(*kind): count for kind, count in rows} for key, rows in cache.get_many(keys).items()
    }
    missing = [begin for begin in begins if begin not in known]
    if missing:
        fresh = _count(unit, missing[0], missing[-1] + unit.length)
        known |= {begin: fresh.get(begin, {}) for begin in missing}
        settled = {begin for begin in missing if timezone.now() > begin + unit.length + _SETTLED}
        _keep(unit, {begin: known[begin] for begin in settled}, _COUNTS_KEPT_SECONDS)
        going_on = {begin: known[begin] for begin in missing if begin not in settled}
        if sum(sum(kinds.values()) for kinds in going_on.values()) >= _MANY:
            _keep(unit, going_on, _FRESH_SECONDS)
    return {begin: known[begin] for begin in begins}


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
    found: dict[datetime, Counter[Kind]] = defaultdict(Counter)
    for part, stream, action, outcome, count in rows:
        found[datetime.fromisoformat(part).replace(tzinfo=UTC)][Kind(stream, action, outcome)] += count
    return dict(found)


def _keep(unit: _Unit, counts: HourCounts, seconds: int) -> None:
    if counts:
        kept = {
            _key(unit, begin): [(tuple(kind), count) for kind, count in kinds.items()]
            for begin, kinds in counts.items()
        }
        cache.set_many(kept, seconds)


def _key(unit: _Unit, begin: datetime) -> str:
    # A cache may be shared by several installations.
    return f"trail-{unit.name}-{deployment_uuid()}-{begin:%Y-%m-%dT%H}"
