"""Runs functions as forked children, and ends all of them when one ends or a signal comes.

A child begins with everything that is loaded here: it starts at once, and shares that memory.
"""

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Final

# What a child may take to finish what it has begun; the units of systemd wait longer (docs/deployment.md).
STOP_SECONDS: Final = 25.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_PDEATHSIG: Final = 1
_FORK: Final = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Child:
    """A process to keep running: it does one thing, and ends where that returns."""

    name: str
    run: Callable[[], None]


class StopAsked(BaseException):
    """A signal asked the supervisor to stop; no `except Exception` may swallow it."""


def run_apart(run: Callable[[], object]) -> int:
    """Run something to its end in a child, so that what it loads goes with it, and return the exit code."""

    def alone() -> None:
        _end_with_parent()
        gc.enable()
        run()

    process = _FORK.Process(target=alone)
    process.start()
    process.join()
    return process.exitcode or 0


def supervise(children: Sequence[Child]) -> str:
    """Run the children until one ends or a signal asks to stop, then stop all of them.

    To be called with no other thread running, since a child would have none of them, and with no
    connection open that children would share. Returns a sentence that says which child ended, or
    nothing if a signal came. A child that does not end within STOP_SECONDS is killed along with what
    it started.
    """
    running: list[BaseProcess] = []
    # The collector would write to every object, and so make each child its own copy of all of them. They stay
    # set aside: going over them once more would only delay the end.
    gc.collect()
    gc.freeze()
    gc.enable()
    with _signals_raise():
        try:
            with _signals_wait():
                running += map(_start, children)
            _wait_for_one_of(running)
        except StopAsked:
            return ""
        finally:
            _ignore_signals()
            ended = [
                f"The {process.name} ended with exit code {process.exitcode}."
                for process in running
                if process.exitcode is not None
            ]
            _stop(running)
        return " ".join(ended)


def _wait_for_one_of(processes: Sequence[BaseProcess]) -> None:
    own = {process.pid for process in processes}
    # It stays to be asked for its exit code, which `waitid` would take otherwise.
    while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)) and ended.si_pid not in own:
        # An orphan of others: the first process of a container inherits them all.
        os.waitpid(ended.si_pid, 0)


def _start(child: Child) -> BaseProcess:
    process = _FORK.Process(target=_begin, args=(child.run,), name=child.name)
    process.start()
    return process


def _begin(run: Callable[[], None]) -> None:
    # A session of its own: Ctrl-C reaches the supervisor alone, which ends them in order.
    os.setsid()
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    _end_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    run()


def _end_with_parent() -> None:
    """Have Linux end a child whose supervisor was killed, so that it does not hold the port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(processes: Sequence[BaseProcess]) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        # It, if it did not end; and what it started, if it ended without ending that.
        with suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Hold signals back until every child is known to whoever stops them, and has handlers of its own."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _signals_raise() -> Iterator[None]:
    before = {number: signal.signal(number, _raise) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise(_number: int, _frame: FrameType | None) -> None:
    # Asked once more, before those that run are being stopped, it would leave them.
    _ignore_signals()
    raise StopAsked


def _ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
