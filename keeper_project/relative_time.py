"""Times in the words of the pages: `12 d ago`, `in 3 h`."""

from datetime import datetime, timedelta

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
# From here on a date says more than a number of days.
_DATE_AFTER = timedelta(days=100)


def relative(moment: datetime, *, now: datetime) -> str:
    """Return `moment` as seen from `now`, in the largest unit that fits."""
    distance = moment - now
    if abs(distance) >= _DATE_AFTER:
        return f"{moment.day} {moment:%b %Y}"
    seconds = abs(distance.total_seconds())
    if seconds < _MINUTE:
        return "in a moment" if distance > timedelta(0) else "just now"
    words = _amount(seconds)
    return f"in {words}" if distance > timedelta(0) else f"{words} ago"


def _amount(seconds: float) -> str:
    for size, unit in ((_DAY, "d"), (_HOUR, "h")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds // _MINUTE)} min"


def duration(seconds: float) -> str:
    """Return a length of time in the largest unit that fits, from seconds on."""
    return _amount(seconds) if seconds >= _MINUTE else f"{int(seconds)} s"


def exact(moment: datetime) -> str:
    """Return `moment` to the second with its zone, for the hover text."""
    return f"{moment.day} {moment:%b %Y, %H:%M:%S %Z}".strip()
