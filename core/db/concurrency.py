"""Concurrent writers: claims of rows, and what a database raises that is busy, full or away.

A row is claimed by a conditional UPDATE, so that one of any number of workers works on it.

Work that lost its transaction to another writer, or its connection to a host that went away, is begun again
(`Attempts`): as long as nothing of it can be stored. A COMMIT without an answer may have stored it.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, TypeVar

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connection
from django.db.models import Model, Q, QuerySet

# MariaDB: a lock that was waited for too long, a deadlock, a row that changed since it was read.
_MARIADB: Final = frozenset({1205, 1213, 1020})
# SQLite: SQLITE_BUSY and SQLITE_LOCKED, the low byte of the driver's code.
_SQLITE: Final = frozenset({5, 6})
# What a full disk makes of a statement. MariaDB: the disk or the table space takes no more.
_MARIADB_FULL: Final = frozenset({1021, 1114})
# SQLite: SQLITE_FULL, and SQLITE_IOERR_SHMSIZE of the index of the write-ahead log.
_SQLITE_FULL: Final = frozenset({13, 4874})
# MariaDB: the connection ended or none was made, the server stops, is read-only, or has left its cluster.
AWAY: Final = frozenset({0, 1047, 1053, 1290, 1836, 1927, 2002, 2003, 2006, 2013, 4031})
_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 0.05
_RANDOM: Final = secrets.SystemRandom()
# What a request may wait altogether for a transaction that others do not overtake.
_SECONDS: Final = 5.0
# Without other hosts, a connection that ended is replaced at once or not at all.
_ATTEMPTS_AWAY: Final = 2
# What the other nodes of a cluster take at least to go on without one.
_AWAY_SECONDS: Final = 0.25
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


def is_away(error: Exception) -> bool:
    """Return whether MariaDB ended the connection, or takes no work for now."""
    return isinstance(error, OperationalError | InterfaceError) and bool(AWAY.intersection(error.args[:1]))


def is_disk_full(error: OperationalError) -> bool:
    """Return whether the database has no room to write; what it holds can still be read."""
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    if code is not None:
        return code in _SQLITE_FULL
    return bool(error.args) and error.args[0] in _MARIADB_FULL


def reason_of(error: DatabaseError) -> str:
    """Return the driver's number and message, or the kind of error if they repeat the password.

    For an operator of this machine; pages show the kind alone.
    """
    reason = ": ".join(str(part) for part in error.args)
    password = connection.settings_dict["PASSWORD"]
    return reason if reason and not (password and password in reason) else type(error).__name__


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
        time.sleep(_RANDOM.uniform(1, 2) * _PAUSE_SECONDS * attempt)
    return act()


class _Work(threading.local):
    """What a thread has done since its work began, on MariaDB; `core.db.mariadb` notes what is stored."""

    # Whether anything may be stored: a statement outside a transaction, or a COMMIT, also without an answer.
    stored = False
    # What the request met, if it lost its transaction (`core.http.problems`).
    lost: Exception | None = None


WORK: Final = _Work()


@contextmanager
def repeatable() -> Iterator[None]:
    """Let the block store what may as well be stored again, such as a time of use."""
    stored = WORK.stored
    yield
    WORK.stored = stored


class Attempts:
    """Attempts at the work of this thread. It is begun anew only while nothing of it can be stored."""

    def __init__(self) -> None:
        self._ends = time.monotonic() + _SECONDS
        self._number = 0
        self._begin()

    def may_repeat(self, error: Exception | None) -> bool:
        """Return whether to begin anew after an error; if so wait a moment, and leave a dead connection."""
        self._number += 1
        is_lost = isinstance(error, OperationalError) and is_collision(error)
        if not is_lost and (error is None or not is_away(error)):
            return False
        has_others = "HOSTS" in connection.settings_dict
        if not is_lost and not has_others and self._number > _ATTEMPTS_AWAY:
            return False
        if WORK.stored or connection.vendor != "mysql" or connection.in_atomic_block:
            return False
        if time.monotonic() > self._ends:
            return False
        if is_lost:
            # Each waits another time: two that collided would meet again.
            time.sleep(_RANDOM.uniform(0, 1) * _PAUSE_SECONDS * min(self._number, 8))
        elif self._number > 1:
            time.sleep(_AWAY_SECONDS)
        connection.close_if_unusable_or_obsolete()
        self._begin()
        return True

    def _begin(self) -> None:
        WORK.stored, WORK.lost = False, None
