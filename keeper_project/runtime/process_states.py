"""The states of the processes of `keeper run`, in memory that the supervisor shares with them.

The supervisor writes and web processes read: detecting a missing worker needs no database or disk.
"""

import ctypes
import mmap
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

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
