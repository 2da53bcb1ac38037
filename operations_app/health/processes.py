"""Whether the processes of Keeper live: their states, the heartbeat of beat and a worker, and their rows.

The states are in memory that the supervisor shares with the processes. The supervisor writes and web
processes read: detecting a missing worker needs no database or disk. Each tick of beat makes a worker store
the time. Each web process and worker stores a row that names its release, for the whole installation to read.
"""

import ctypes
import logging
import mmap
import os
import socket
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.cache import cache
from django.db import Error as DatabaseProblem
from django.db import connection
from django.utils import timezone

from operations_app.health.schema import installed_version
from operations_app.models import RunningProcess
from sync_app.jobs.leases import database_now

_states: dict[str, "ProcessState"] = {}
_log = logging.getLogger(__name__)


class ProcessState(ctypes.Structure):
    """The state of one process; each field is read and written in one access.

    `ready` is set by the process itself, once it does its work. `failures` counts the times it ended
    since it last lived long enough. The times are seconds since 1970, 0 for none.
    """

    _fields_: Final = [  # type: ignore[misc]  # the stubs demand a class variable
        ("ready", ctypes.c_int64),
        ("failures", ctypes.c_int64),
        ("exit_code", ctypes.c_int64),
        ("started_at", ctypes.c_double),
        ("starts_at", ctypes.c_double),
    ]


def share_states(names: Sequence[str]) -> None:
    """Make the shared memory for processes of these names, to be called before they are forked."""
    size = ctypes.sizeof(ProcessState)
    memory = mmap.mmap(-1, size * len(names))
    _states.clear()
    _states.update((name, ProcessState.from_buffer(memory, size * place)) for place, name in enumerate(names))


def state_of(name: str) -> ProcessState:
    """Return the shared state of a process."""
    return _states[name]


def note_ready(name: str) -> None:
    """Note that a process does its work; does nothing where no supervisor shares its states."""
    if name in _states:
        _states[name].ready = 1


def process_problems() -> list[str]:
    """Return a sentence for each process that is away, or was restarted a moment ago."""
    return [_problem(name, state) for name, state in _states.items() if state.failures]


def ending(exit_code: int) -> str:
    """Return how a process ended, in words; a negative exit code is a signal's number."""
    return f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"


def _problem(name: str, state: ProcessState) -> str:
    how = ending(state.exit_code)
    times = f" ({state.failures} times in a row)" if state.failures > 1 else ""
    if state.starts_at:
        return f"the {name} {how}{times} and starts again at {_time(state.starts_at)}"
    return f"the {name} {how}{times} and was started again at {_time(state.started_at)}"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S} UTC"


_KEY: Final = "keeper:heartbeat"


def beat() -> None:
    """Note that a worker carried out a task now: in Redis, or else in the data directory."""
    now = timezone.now().isoformat()
    if settings.REDIS_URL:
        cache.set(_KEY, now, timeout=None)
        return
    # A rename, so no reader sees an incomplete time.
    draft = _file().with_name(f".heartbeat.{os.getpid()}")
    draft.write_text(now, encoding="ascii")
    draft.replace(_file())


def last_beat() -> datetime | None:
    """Return when a worker last carried out the heartbeat's task, or None if none ever did."""
    text = cache.get(_KEY) if settings.REDIS_URL else _read()
    return datetime.fromisoformat(text) if text else None


def _file() -> Path:
    return Path(settings.KEEPER_DATA_DIR) / "heartbeat"


def _read() -> str:
    try:
        return _file().read_text(encoding="ascii")
    except FileNotFoundError:
        return ""


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
    host, now = socket.gethostname()[:150], database_now()
    RunningProcess.objects.update_or_create(
        name=f"{kind} {host} {os.getpid()}",
        defaults={"kind": kind, "host": host, "release": installed_version(), "seen_at": now},
    )
    RunningProcess.objects.filter(seen_at__lt=now - _FORGOTTEN_AFTER).delete()


def running() -> list[RunningProcess]:
    """Return the web processes and workers that run, or did a moment ago, by name."""
    now = database_now()
    return list(RunningProcess.objects.filter(seen_at__gt=now - _GONE_AFTER, seen_at__lte=now + _GONE_AFTER))
