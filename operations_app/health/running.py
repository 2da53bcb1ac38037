"""The processes of the whole installation: each stores a row that names its kind, host and release."""

import logging
import os
import socket
import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import Final

from django.db import Error as DatabaseProblem
from django.db import connection

from operations_app.health.schema import installed_version
from operations_app.models import RunningProcess
from sync_app.jobs.leases import database_now

_log = logging.getLogger(__name__)
WEB: Final = "web"
WORKER: Final = "worker"
_SEEN_EVERY: Final = timedelta(seconds=30)
# Two times may be lost: the database was away, or the machine is busy.
_GONE_AFTER: Final = 3 * _SEEN_EVERY
_FORGOTTEN_AFTER: Final = timedelta(days=1)


def show_running(kind: str) -> None:
    """Store every 30 s, in a thread of its own, that this process runs; until it ends."""
    threading.Thread(target=_show, args=(kind,), name="running", daemon=True).start()


def _show(kind: str) -> None:
    while True:
        try:
            note_running(kind)
        except DatabaseProblem as problem:
            _log.info(
                "not stored that this process runs: %s", type(problem).__name__, extra={"cause": problem}
            )
        finally:
            # None is held in between: the server counts them.
            connection.close()
        time.sleep(_SEEN_EVERY.total_seconds())


def note_running(kind: str) -> None:
    """Store that this process runs, and forget those that are gone for a day."""
    host, now = _host(), database_now()
    RunningProcess.objects.update_or_create(
        name=f"{kind} {host} {os.getpid()}",
        defaults={"kind": kind, "host": host, "release": installed_version(), "seen_at": now},
    )
    RunningProcess.objects.filter(seen_at__lt=now - _FORGOTTEN_AFTER).delete()


def running() -> list[RunningProcess]:
    """Return the web processes and workers that run, or did a moment ago, by name."""
    now = database_now()
    return list(RunningProcess.objects.filter(seen_at__gt=now - _GONE_AFTER, seen_at__lte=now + _GONE_AFTER))


def not_stopped() -> list[RunningProcess]:
    """Return those of `running` that may run still: of this host it is known at once that a process ended."""
    return [each for each in running() if each.host != _host() or _lives(int(each.name.rpartition(" ")[2]))]


def _host() -> str:
    return socket.gethostname()[:150]


def _lives(pid: int) -> bool:
    try:
        # It may be another account's: that lives as well.
        with suppress(PermissionError):
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
