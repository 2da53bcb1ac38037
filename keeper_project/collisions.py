"""Tells a database that refused because of another request at this moment from one that is away."""

from typing import Final

from django.db import OperationalError

# MariaDB: a lock that was waited for too long, a deadlock, a row that changed since it was read.
_MARIADB: Final = frozenset({1205, 1213, 1020})
# SQLite: SQLITE_BUSY and SQLITE_LOCKED, the low byte of what the driver says.
_SQLITE: Final = frozenset({5, 6})


def is_collision(error: OperationalError) -> bool:
    """Say whether the same may well go through when it is asked again: the transaction was rolled back."""
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _SQLITE
    return bool(error.args) and error.args[0] in _MARIADB
