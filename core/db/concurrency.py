"""Concurrent writers: claims of rows, and what a database raises that is busy or full, and not away.

A row is claimed by a conditional UPDATE, so that one of any number of workers works on it.
"""

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar

from django.db import OperationalError
from django.db.models import Model, Q, QuerySet

# MariaDB: a lock that was waited for too long, a deadlock, a row that changed since it was read.
_MARIADB: Final = frozenset({1205, 1213, 1020})
# SQLite: SQLITE_BUSY and SQLITE_LOCKED, the low byte of the driver's code.
_SQLITE: Final = frozenset({5, 6})
# What a full disk makes of a statement. MariaDB: the disk or the table space takes no more.
_MARIADB_FULL: Final = frozenset({1021, 1114})
# SQLite: SQLITE_FULL, and SQLITE_IOERR_SHMSIZE of the index of the write-ahead log.
_SQLITE_FULL: Final = frozenset({13, 4874})
_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 0.05
T = TypeVar("T")
Row = TypeVar("Row", bound=Model)


def claim(rows: QuerySet[Row], pk: int, free: Q, /, **changes: object) -> Row | None:
    """Change a row that is still free, and return it as it is stored then; None if there is nothing to take.

    `rows` is a queryset without conditions: it names the model and what is read along.
    """
    if not rows.filter(free, pk=pk).update(**changes):
        return None
    return rows.filter(pk=pk).first()


def unleased(now: datetime, lease: timedelta, *, column: str = "lease_until") -> Q:
    """Return the condition on rows that no worker holds.

    A lease that ends later than any lease can was written before the clock was put back.
    """
    late = Q((f"{column}__gt", now + 2 * lease))
    return Q((f"{column}__isnull", True)) | Q((f"{column}__lt", now)) | late


def is_collision(error: OperationalError) -> bool:
    """Return whether the same may well go through when it is asked again: the transaction was rolled back."""
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _SQLITE
    return bool(error.args) and error.args[0] in _MARIADB


def is_disk_full(error: OperationalError) -> bool:
    """Return whether the database has no room to write; what it holds can still be read."""
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    if code is not None:
        return code in _SQLITE_FULL
    return bool(error.args) and error.args[0] in _MARIADB_FULL


def retry_collisions(act: Callable[[], T]) -> T:
    """Do something in a transaction of its own, and again if another one collides with it.

    Not to be called within a transaction. Raises OperationalError as `act` does, after the last attempt.
    """
    for attempt in range(1, _ATTEMPTS):
        try:
            return act()
        except OperationalError as error:
            if not is_collision(error):
                raise
        # Each waits another time: two that collided would meet again.
        time.sleep(random.uniform(1, 2) * _PAUSE_SECONDS * attempt)  # noqa: S311 - no secret depends on it
    return act()
