"""Logs the consequences of an unavailable database or broker, or a full disk, as one line a minute.

During the outage each request, task and tick of beat fails: thousands of tracebacks would add nothing, and
there are none. Requests for a host that is not Keeper's are one line a minute as well: anyone can send them.
"""

import errno
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

from django.db import InterfaceError, OperationalError
from kombu.exceptions import OperationalError as BrokerError

from core.db.concurrency import is_disk_full
from core.errors import ServiceAway

EVERY_SECONDS: Final = 60.0
# Of the server: too many connections, shutting down, read-only (a failover), interrupted, and a connection
# that was ended. The client's errors are all of the connection.
_SERVER_AWAY: Final = frozenset({1040, 1053, 1290, 1317, 1836, 1927, 4031})
_CLIENT_ERRORS: Final = range(2000, 2060)
# What the client of Redis raises, which is not installed everywhere.
_LOST: Final = frozenset({"ConnectionError", "TimeoutError", "BusyLoadingError"})
_REJECTED: Final = frozenset({"AuthenticationError", "NoPermissionError"})
# Lines of Celery that come at each attempt to connect, without an exception.
_ATTEMPTS: Final = ("consumer: Cannot connect to", "beat: Connection error", "Connection to broker lost")
_DECIDED: Final = "outage_decided"
_SENTENCES: Final = {
    "database": "the database does not answer",
    "disk": "the disk of the database or of KEEPER_DATA_DIR is full: free space on it",
    "host": "requests name a host that ALLOWED_HOSTS does not list: add it if it is Keeper's",
    "broker": "the broker does not answer; what is due is kept in the database",
    "rejected": (
        "Redis rejects the username or password of REDIS_URL or CELERY_BROKER_URL, or what its user may not; "
        "what is due is kept in the database"
    ),
}


class OutageFilter(logging.Filter):
    """Passes the first line of each kind of outage in a minute, and reports the number of suppressed ones.

    To be shared by all handlers. A record names its exception by `exc_info`, or as `extra={"cause": error}`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write a record; one that is written loses its traceback."""
        # Once for all handlers: the second one would find the minute taken.
        if _DECIDED not in record.__dict__:
            # An error that ends the program is logged in full.
            kind = "" if record.getMessage().startswith("Unrecoverable") else _kind_of(record)
            record.__dict__[_DECIDED] = (
                self._passes(kind, record) if kind else not self._is_consequence(record)
            )
        return bool(record.__dict__[_DECIDED])

    def _is_consequence(self, record: logging.LogRecord) -> bool:
        """Return whether a request was refused (503) during a known outage; such a line is counted."""
        if getattr(record, "status_code", 0) != HTTPStatus.SERVICE_UNAVAILABLE:
            return False
        now = time.monotonic()
        with self._lock:
            known = [kind for kind, until in self._next.items() if now < until]
            self._left_out.update(known[:1])
        return bool(known)

    def _passes(self, kind: str, record: logging.LogRecord) -> bool:
        with self._lock:
            if time.monotonic() < self._next.get(kind, 0.0):
                self._left_out[kind] += 1
                return False
            self._next[kind] = time.monotonic() + EVERY_SECONDS
            left_out = self._left_out.pop(kind, 0)
        record.msg, record.args = "%s%s", (_SENTENCES[kind], _detail(record, left_out))
        record.exc_info, record.exc_text, record.stack_info = None, None, None
        return True


def _detail(record: logging.LogRecord, left_out: int) -> str:
    error = next((each for each in _chain(_cause_of(record)) if _kind_of_error(each)), None)
    number = error.args[0] if error is not None and error.args and isinstance(error.args[0], int) else ""
    # Only kind and number: a driver's message may contain the data.
    cause = f": {type(error).__name__} {number}".rstrip() if error is not None else ""
    return cause + (f" ({left_out} more since the last line)" if left_out else "")


def _kind_of(record: logging.LogRecord) -> str:
    if record.name == "django.security.DisallowedHost":
        return "host"
    kinds = [kind for error in _chain(_cause_of(record)) if (kind := _kind_of_error(error))]
    if "rejected" in kinds:
        # Kombu wraps it in an error of the broker.
        return "rejected"
    # Celery puts the name of its program into the arguments of some lines.
    attempts = record.name.startswith("celery.") and record.getMessage().startswith(_ATTEMPTS)
    return kinds[0] if kinds else "broker" if attempts else ""


def _cause_of(record: logging.LogRecord) -> BaseException | None:
    cause = getattr(record, "cause", None)
    if isinstance(cause, BaseException):
        return cause
    if record.exc_info:
        return record.exc_info[1]
    # Celery names the error of a failed attempt by the line's arguments alone.
    given = record.args if record.name.startswith("celery.") and isinstance(record.args, tuple) else ()
    return next((each for each in given if isinstance(each, BaseException)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _kind_of_error(error: BaseException) -> str:
    if isinstance(error, InterfaceError):
        return "database"
    if isinstance(error, OperationalError):
        if is_disk_full(error):
            return "disk"
        code = error.args[0] if error.args else None
        return "database" if code in _SERVER_AWAY or code in _CLIENT_ERRORS else ""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "disk"
    of_driver = type(error).__name__ if type(error).__module__ == "redis.exceptions" else ""
    if of_driver in _REJECTED:
        return "rejected"
    return "broker" if of_driver in _LOST or isinstance(error, BrokerError | ServiceAway) else ""
