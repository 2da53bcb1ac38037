"""Times in the words of the pages: `12 days ago`, `in 3 hours`."""

from datetime import datetime, timedelta

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
# From here on a date is clearer than a number of days.
_DATE_AFTER = timedelta(days=100)


def relative(moment: datetime, *, now: datetime) -> str:
    """Return `moment` as seen from `now`, in the largest unit that fits.

    Past times count full units; future times are rounded to the nearest one, so that an access
    of 4 hours does not begin as one of 3.
    """
    distance = moment - now
    if abs(distance) >= _DATE_AFTER:
        return f"{moment.day} {moment:%b %Y}"
    seconds = abs(distance.total_seconds())
    if seconds < _MINUTE:
        return "in a moment" if distance > timedelta(0) else "just now"
    return f"in {_nearest(seconds)}" if distance > timedelta(0) else f"{_amount(seconds)} ago"


def until(moment: datetime, *, now: datetime) -> str:
    """Return in words when something expires: `expires in 4 hours`, `expired 1 day ago`."""
    return f"{'expires' if moment > now else 'expired'} {relative(moment, now=now)}"


def _nearest(seconds: float) -> str:
    for size, unit, next_size in ((_MINUTE, "minute", _HOUR), (_HOUR, "hour", _DAY)):
        count = int(seconds / size + 0.5)
        if count * size < next_size:
            return _count(count, unit)
    return _count(int(seconds / _DAY + 0.5), "day")


def _amount(seconds: float) -> str:
    for size, unit in ((_DAY, "day"), (_HOUR, "hour")):
        if seconds >= size:
            return _count(int(seconds // size), unit)
    return _count(int(seconds // _MINUTE), "minute")


def _count(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def duration(seconds: float) -> str:
    """Return a length of time in the largest unit that fits, from seconds on."""
    return _amount(seconds) if seconds >= _MINUTE else _count(int(seconds), "second")


def exact(moment: datetime) -> str:
    """Return `moment` to the second with its zone, for the hover text."""
    return f"{moment.day} {moment:%b %Y, %H:%M:%S %Z}".strip()
