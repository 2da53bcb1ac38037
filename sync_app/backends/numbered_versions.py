"""Versions of a system that only counts them: a number, and the time at which it was made."""

from sync_app.backends.observations import VERSION_SEPARATOR


def format_version(number: int, created: str) -> str:
    """Return how Keeper names a version: a number alone is used again after a snapshot was restored."""
    return f"{number}{VERSION_SEPARATOR}{created}"


def version_number(version: str) -> int:
    """Return the number of a version, also of one that an earlier Keeper named by that alone; 0 for none."""
    number = version.partition(VERSION_SEPARATOR)[0]
    return int(number) if number.isdecimal() else 0


def version_time(version: str) -> float:
    """Return the time of a version whose name holds it in seconds; 0 for none."""
    return float(version.partition(VERSION_SEPARATOR)[2] or 0)
