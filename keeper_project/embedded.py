"""Runs the web server and a worker as children, and ends both when one ends or a signal comes."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

STOP_SECONDS: Final = 10.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True)
class Child:
    """A process to keep running."""

    name: str
    command: Sequence[str]


class StopAsked(BaseException):
    """A signal asked the supervisor to stop; no `except Exception` may swallow it."""


def web(*, host: str, port: int, workers: int, threads: int) -> Child:
    """Return the web server: granian, whose threads run Django."""
    options = {
        "--interface": "wsgi",
        "--host": host,
        "--port": str(port),
        "--workers": str(workers),
        "--blocking-threads": str(threads),
        "--workers-kill-timeout": "5",
        "--log-level": "warning",
    }
    flat = [part for option in options.items() for part in option]
    return Child(
        "web server", [sys.executable, "-m", "granian", *flat, "--no-ws", "keeper_project.wsgi:application"]
    )


def worker(*, threads: int, level: str) -> Child:
    """Return the worker: one Celery process with threads, and beat inside it."""
    options = ["--pool", "threads", "--concurrency", str(threads), "--loglevel", level, "--beat"]
    # There is one worker: it has nobody to gossip with.
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    # Celery fears pickled messages under root; Keeper takes JSON alone.
    celery = [
        sys.executable,
        "-W",
        "ignore:You're running",
        "-m",
        "celery",
        "--quiet",
        "--app",
        "keeper_project",
    ]
    return Child("worker", [*celery, "worker", *options, *alone])


def supervise(children: Sequence[Child], *, environment: Mapping[str, str]) -> str:
    """Run the children until one ends or a signal asks to stop, then stop all of them.

    Returns a sentence that says which child ended, or nothing if a signal came. A child that
    does not end within STOP_SECONDS is killed along with what it started.
    """
    running: dict[str, subprocess.Popen[bytes]] = {}
    with _signals_raise():
        try:
            for child in children:
                running[child.name] = _start(child, environment)
            # Waits for any child without taking its exit code from Popen.
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        except StopAsked:
            return ""
        finally:
            _ignore_signals()
            ended = [f"The {name} ended with exit code {code}." for name, code in _ended(running)]
            _stop(list(running.values()))
        return " ".join(ended)


def _start(child: Child, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        child.command,
        env=environment,
        stdin=subprocess.DEVNULL,
        # A session of its own: Ctrl-C reaches the supervisor alone, which ends them in order.
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - the supervisor has no other threads
    )


def _end_with_parent() -> None:
    """Have Linux end a child whose supervisor was killed, so that it does not hold the port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _ended(running: Mapping[str, subprocess.Popen[bytes]]) -> Iterator[tuple[str, int]]:
    for name, process in running.items():
        code = process.poll()
        if code is not None:
            yield name, code


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def _signals_raise() -> Iterator[None]:
    before = {number: signal.signal(number, _raise) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise StopAsked


def _ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
