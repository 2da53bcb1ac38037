"""Times in the words of the pages: `12 d ago`, `in 3 h`."""

from datetime import datetime, timedelta

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
# From here on a date is clearer than a number of days.
_DATE_AFTER = timedelta(days=100)


def relative(moment: datetime, *, now: datetime) -> str:
    """Return `moment` as seen from `now`, in the largest unit that fits.

    Past times count full units; future times are rounded to the nearest one, so that an access
    of 4 h does not begin as one of 3.
    """
    distance = moment - now
    if abs(distance) >= _DATE_AFTER:
        return f"{moment.day} {moment:%b %Y}"
    seconds = abs(distance.total_seconds())
    if seconds < _MINUTE:
        return "in a moment" if distance > timedelta(0) else "just now"
    return f"in {_nearest(seconds)}" if distance > timedelta(0) else f"{_amount(seconds)} ago"


def until(moment: datetime, *, now: datetime) -> str:
    """Return how long something lasts that ends at `moment`: `for another 4 h`, `until 24 Nov 2027`."""
    words = relative(moment, now=now)
    if words == "in a moment":
        return "for a moment"
    return f"for another {words[3:]}" if words.startswith("in ") else f"until {words}"


def _nearest(seconds: float) -> str:
    for size, unit, next_size in ((_MINUTE, "min", _HOUR), (_HOUR, "h", _DAY)):
        count = int(seconds / size + 0.5)
        if count * size < next_size:
            return f"{count} {unit}"
    return f"{int(seconds / _DAY + 0.5)} d"


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
