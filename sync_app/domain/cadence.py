"""When a rotation is due and when it may begin: cadence, window, time zone, and clocks that jump. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from environments_app.errors import InvalidField

MIN_INTERVAL: Final = 60
MAX_SECONDS: Final = 10 * 366 * 24 * 3600
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW: Final = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))? )?(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)"
)
_WINDOW_WORDS: Final = "Enter a window such as 01:00-05:00 or mon-fri 22:00-05:00."
# A window comes at least once a week.
_HORIZON: Final = timedelta(days=8)


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """How often: every so many seconds, or at the times of a cron line in a time zone; or never."""

    interval_seconds: int = 0
    cron: str = ""
    time_zone: str = "UTC"

    def next_after(self, moment: datetime) -> datetime | None:
        """Return when the next rotation after one at `moment` is due; None: by hand only.

        However long ago `moment` was, one is due, not as many as were missed.
        """
        if self.cron:
            due: datetime = next(CronSim(self.cron, moment.astimezone(parse_time_zone(self.time_zone))))
            return due.astimezone(UTC)
        return moment + timedelta(seconds=self.interval_seconds) if self.interval_seconds else None

    def correct_due_time(self, due_at: datetime | None, now: datetime) -> datetime | None:
        """Return when it is due, where the clock may have been put back since that was written down.

        Nothing is due later than one cadence from now.
        """
        latest = self.next_after(now)
        if due_at is None or latest is None:
            return latest
        return min(due_at, latest)


@dataclass(frozen=True, kw_only=True)
class Window:
    """The hours in which a scheduled rotation may begin, on some days of the week, by a wall clock.

    One that ends at or before it starts goes past midnight, and belongs to the day on which it starts.
    """

    days: frozenset[int]
    start: time
    end: time
    time_zone: str

    def contains(self, moment: datetime) -> bool:
        local = moment.astimezone(parse_time_zone(self.time_zone)).replace(tzinfo=None)
        return any(
            start <= local < end
            for start, end in map(self._bounds_on, (local.date(), local.date() - timedelta(days=1)))
        )

    def next_opening(self, moment: datetime) -> datetime:
        """Return `moment` if it lies in the window, else when the window next opens."""
        if self.contains(moment):
            return moment
        place = parse_time_zone(self.time_zone)
        today = moment.astimezone(place).date()
        openings = (
            datetime.combine(day, self.start, tzinfo=place).astimezone(UTC)
            for day in (today + timedelta(days=number) for number in range(_HORIZON.days))
            if day.weekday() in self.days
        )
        return next(opening for opening in openings if opening > moment)

    def _bounds_on(self, day: date) -> tuple[datetime, datetime]:
        """Return start and end of the window that starts on a day; an empty one if none does."""
        start = datetime.combine(day, self.start)
        if day.weekday() not in self.days:
            return start, start
        past_midnight = timedelta(days=1) if self.end <= self.start else timedelta()
        return start, datetime.combine(day, self.end) + past_midnight


def parse_time_zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name. Raises InvalidField."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidField("time_zone", "Enter a time zone, for example UTC or Europe/Berlin.") from error


def clean_cron(line: str) -> str:
    """Return a cron line of five fields. Raises InvalidField."""
    text = " ".join(line.split())
    fields = 5
    try:
        next(CronSim(text, datetime.now(UTC)))
    except (CronSimError, StopIteration) as error:
        raise InvalidField("cron", "Enter five fields, for example 0 3 * * sun.") from error
    if len(text.split()) != fields:
        raise InvalidField("cron", "Enter five fields: minute hour day month weekday.")
    return text


def parse_window(text: str, time_zone: str) -> Window | None:
    """Return the window that a text such as "mon-fri 22:00-05:00" means; None if it is empty.

    Raises InvalidField.
    """
    if not text:
        return None
    parse_time_zone(time_zone)
    match = _WINDOW.fullmatch(text.strip().lower())
    if match is None:
        raise InvalidField("window", _WINDOW_WORDS)
    try:
        start, end = time.fromisoformat(match["start"]), time.fromisoformat(match["end"])
        first = _DAYS.index(match["first"]) if match["first"] else 0
        last = _DAYS.index(match["last"]) if match["last"] else (first if match["first"] else 6)
    except ValueError as error:
        raise InvalidField("window", _WINDOW_WORDS) from error
    days = [*range(first, last + 1)] if first <= last else [*range(first, 7), *range(last + 1)]
    return Window(days=frozenset(days), start=start, end=end, time_zone=time_zone)
