"""Whether the processes of `keeper run` live: their states, and the heartbeat of beat and a worker.

The states are in memory that the supervisor shares with the processes. The supervisor writes and web
processes read: detecting a missing worker needs no database or disk. Each tick of beat makes a worker store
the time. Programs load this before Django's apps.
"""

import ctypes
import mmap
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

_states: dict[str, "ProcessState"] = {}


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
