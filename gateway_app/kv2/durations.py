"""Durations as the protocol writes them: seconds, or Go's form such as `1h30m`."""

import re
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from gateway_app.kv2.answers import Kv2Error

_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_DAYS: Final = re.compile(r"([0-9]+)d")
_LONGEST: Final = 40
# What Go's 64 bits of nanoseconds hold.
_LARGEST: Final = 2**63 / 1e9


def duration_of(given: Any, name: str, *, signed: bool = False) -> timedelta:
    """Return a duration that a client names: whole seconds, `5d`, or `1h30m10s`. Raises Kv2Error.

    Only a `signed` one may be negative.
    """
    seconds = _seconds(given)
    if seconds is None or abs(seconds) >= _LARGEST:
        raise Kv2Error(HTTPStatus.BAD_REQUEST, f"{name} is not a duration such as 60, 90s or 1h30m")
    if seconds < 0 and not signed:
        raise Kv2Error(HTTPStatus.BAD_REQUEST, f"{name} cannot be negative")
    # What is shorter than a microsecond is still a time.
    duration = timedelta(seconds=seconds)
    return max(duration, timedelta.resolution) if seconds > 0 else duration


def duration_text(duration: timedelta) -> str:
    """Return whole seconds in Go's form: `0s`, `1m30s`, `48h0m0s`."""
    if duration < timedelta(0):
        return f"-{duration_text(-duration)}"
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _seconds(given: Any) -> float | None:
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    if not isinstance(given, str) or len(given) > _LONGEST:
        return None
    text = given.strip()
    unsigned = text.removeprefix("-")
    sign = 1 if unsigned == text else -1
    if re.fullmatch(r"[0-9]+", unsigned):
        return sign * int(unsigned)
    if days := _DAYS.fullmatch(unsigned):
        return sign * int(days[1]) * 86_400
    parts = _PART.findall(unsigned)
    if not parts or "".join(number + unit for number, unit in parts) != unsigned:
        return None
    return sign * sum(float(number) * _SECONDS[unit] for number, unit in parts)
