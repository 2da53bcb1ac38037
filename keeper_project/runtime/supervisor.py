"""Runs functions as forked children, restarts those that end, and stops all of them when a signal comes.

A child begins with everything that is loaded here: it starts at once, and shares that memory.
"""

import ctypes
import gc
import logging
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Final

from operations_app.health.processes import ending, share_states, state_of

# What a child may take to finish what it has begun; the units of systemd wait longer (docs/deployment.md).
STOP_SECONDS: Final = 25.0
# The wait before a child that ended starts again; it doubles if the child lived less than STEADY_SECONDS.
FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 60.0
STEADY_SECONDS: Final = 60.0
# What a report may take before the kernel ends it.
_REPORT_SECONDS: Final = 60
_IDLE_SECONDS: Final = 3600.0
_STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SIGNALS: Final = frozenset({*_STOPS, signal.SIGCHLD})
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2
_FORK: Final = multiprocessing.get_context("fork")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Child:
    """A process to keep running. Keeper ends where a `required` one ends before it was ever ready."""

    name: str
    run: Callable[[], None]
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Incident:
    """A child ended and starts again after a wait, or, without an exit code, has lived long enough since."""

    name: str
    exit_code: int | None
    failures: int = 0
    wait_seconds: float = 0.0


Report = Callable[[Incident], object]


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


def supervise(children: Sequence[Child], *, report: Report | None = None) -> str:
    """Keep the children running until a signal asks to stop, then stop all of them.

    To be called with no other thread running, since a child would have none of them, and with no
    connection open that children would share. A child that ends starts again after a wait; `report` is
    called in a process of its own then, and once more when the child has lived STEADY_SECONDS. Returns
    nothing if a signal came, or a sentence about a required child that ended before it was ever ready. A
    child that does not stop within STOP_SECONDS is killed along with what it started.
    """
    # The collector would write to every object, and so make each child its own copy of all of them. They stay
    # set aside: going over them once more would only delay the end. What is garbage by now stays as well: it
    # is little, and what children put into its holes would be pages of their own.
    gc.freeze()
    gc.enable()
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None:
        # The threads of a child share two arenas of glibc: each keeps what its largest answer took.
        mallopt(_M_ARENA_MAX, _ARENAS)
    refuse_core_dumps()
    share_states([child.name for child in children])
    with _signals_held():
        return _Supervisor(children, report).run()


def refuse_core_dumps() -> None:
    """Have Linux write no core dump of this process and of its children: their memory holds values.

    The limit alone does not stop a dump that goes to a program (core(5)). Then also only root may trace
    the process.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _ask_linux(_PR_SET_DUMPABLE, 0)


@dataclass
class _Kept:
    """A child, its process if it has one, and when the next thing is due for it (monotonic)."""

    child: Child
    process: BaseProcess | None = None
    since: float = 0.0
    start_at: float = 0.0
    failures: int = 0

    @property
    def due(self) -> float:
        """When it starts, or has lived long enough; never, if it runs and has not failed lately."""
        if self.process is None:
            return self.start_at
        return self.since + STEADY_SECONDS if self.failures else float("inf")


@dataclass
class _Supervisor:
    """Waits for signals with all of them blocked: none interrupts it between two steps."""

    children: Sequence[Child]
    report: Report | None
    kept: list[_Kept] = field(default_factory=list)
    reports: list[BaseProcess] = field(default_factory=list)
    reason: str = ""

    def run(self) -> str:
        self.kept = [_Kept(child) for child in self.children]
        try:
            while not self.reason:
                self._tend()
                if self._is_asked_to_stop():
                    break
                self._take_ended()
        finally:
            _stop([kept.process for kept in self.kept if kept.process], self.reports)
        return self.reason

    def _is_asked_to_stop(self) -> bool:
        """Wait until a signal comes or something is due."""
        wait = min([_IDLE_SECONDS, *(kept.due - time.monotonic() for kept in self.kept)])
        caught = signal.sigtimedwait(_SIGNALS, max(0.0, wait))
        return caught is not None and caught.si_signo != signal.SIGCHLD

    def _tend(self) -> None:
        """Start what is due to start, and note what has lived long enough."""
        for kept in self.kept:
            if kept.due > time.monotonic():
                continue
            if kept.process is None:
                self._start(kept)
            else:
                kept.failures = state_of(kept.child.name).failures = 0
                self._report(Incident(name=kept.child.name, exit_code=None))

    def _start(self, kept: _Kept) -> None:
        kept.process = _fork(kept.child.run, kept.child.name)
        kept.since = time.monotonic()
        state = state_of(kept.child.name)
        state.started_at, state.starts_at = time.time(), 0.0

    def _take_ended(self) -> None:
        """Take the exit codes of all processes that ended; the first one of a container inherits others."""
        with suppress(ChildProcessError):
            # It stays to be asked for its exit code, which `waitid` would take otherwise.
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG):
                if not self._is_own(ended.si_pid):
                    os.waitpid(ended.si_pid, 0)
        # Starting a process takes the exit codes of others, whose signal is then the only sign of their end.
        for kept in self.kept:
            if kept.process is not None and kept.process.exitcode is not None:
                # Linux gives the id of a group to no other process while the group has members.
                _kill_group(kept.process)
                self._note_end(kept, kept.process.exitcode)
        self.reports = [process for process in self.reports if process.exitcode is None]

    def _is_own(self, pid: int) -> bool:
        own = [kept.process for kept in self.kept if kept.process is not None]
        for process in (*own, *self.reports):
            if process.pid == pid:
                _kill_group(process)
                process.join()
                return True
        return False

    def _note_end(self, kept: _Kept, exit_code: int) -> None:
        name, state = kept.child.name, state_of(kept.child.name)
        lived = time.monotonic() - kept.since
        kept.process = None
        if kept.child.required and not state.ready:
            self.reason = f"The {name} {ending(exit_code)}."
            return
        kept.failures = 1 if lived >= STEADY_SECONDS else kept.failures + 1
        wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(kept.failures - 1, 16))
        kept.start_at = time.monotonic() + wait
        state.failures, state.exit_code, state.starts_at = kept.failures, exit_code, time.time() + wait
        how = ending(exit_code)
        logger.error("the %s %s after %d s; it starts again in %d s", name, how, lived, wait)
        self._report(Incident(name=name, exit_code=exit_code, failures=kept.failures, wait_seconds=wait))

    def _report(self, incident: Incident) -> None:
        if self.report is not None:
            self.reports.append(_fork(partial(_report_in_time, self.report, incident), "report"))


def _report_in_time(report: Report, incident: Incident) -> None:
    signal.alarm(_REPORT_SECONDS)
    report(incident)


def _fork(run: Callable[[], None], name: str) -> BaseProcess:
    process = _FORK.Process(target=_begin, args=(run, name), name=name)
    process.start()
    return process


def _begin(run: Callable[[], None], name: str) -> None:
    # A session of its own: Ctrl-C reaches the supervisor alone, which ends them in order.
    os.setsid()
    for number in _STOPS:
        signal.signal(number, signal.SIG_DFL)
    _end_with_parent()
    # What `ps -o comm` and `top` show, which have room for 15 characters.
    _ask_linux(_PR_SET_NAME, name.encode())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    run()


def _end_with_parent() -> None:
    """Have Linux end a child whose supervisor was killed, so that it does not hold the port."""
    _ask_linux(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _ask_linux(option: int, value: int | bytes) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def _stop(processes: Sequence[BaseProcess], reports: Sequence[BaseProcess]) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    for process in (*processes, *reports):
        process.terminate()
    for process in (*processes, *reports):
        process.join(max(0.0, deadline - time.monotonic()))
        # It, if it did not end; and what it started, if it ended without ending that.
        _kill_group(process)
        process.join()


def _kill_group(process: BaseProcess) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Block signals: the supervisor asks for them, and a child unblocks them once its handlers are set."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        # Those who asked more than once are not to end this process on its last steps.
        while signal.sigtimedwait(_STOPS, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
