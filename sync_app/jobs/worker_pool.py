"""Asks a target for many things at once: threads that touch the network only, never the database.

They send under the bounds of the thread that started them (`core.network.limits.guarded`).
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Event
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from sync_app.errors import (
    BackendError,
    BadDestination,
    CredentialsRejected,
    MountMissing,
    SystemMismatch,
    TargetSealed,
    TargetStandby,
)
from sync_app.jobs import leases as jobs_leases


class RateLimiter:
    """Spaces out what several threads do; at most one second's worth may come at once."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._tokens = per_second
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the next request may start: a token is taken, in advance if there is none."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._per_second, self._tokens + (now - self._at) * self._per_second)
            self._at = now
            self._tokens -= 1
            seconds = max(0.0, -self._tokens / self._per_second)
        time.sleep(seconds)


CONCURRENCY: Final = 8
# How many are under way or waiting for a thread: what bounds the memory of a pass's values.
BATCH: Final = 100
_HEARTBEAT_SECONDS: Final = 10.0
# Before each further look for what is not shown yet: a standby of Vault lags by some tenths of a second.
LOOK_PAUSES: Final = (0.25, 0.5, 1.0, 2.0)
# What is true of the target as a whole: asking for the next secret would answer the same.
STOPPING: Final = (
    CredentialsRejected,
    MountMissing,
    SystemMismatch,
    TargetSealed,
    TargetStandby,
    BadDestination,
)

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def no_heartbeat() -> None:
    """Do nothing: for work that holds no lease."""


def run_each(
    work: Callable[[Item], Answer], items: Iterable[Item], *, heartbeat: Callable[[], None] = no_heartbeat
) -> Iterator[tuple[Item, Answer | BackendError]]:
    """Yield each item with what the work returned, or with the error that the target gave for it.

    The order is that of completion. `heartbeat` is called at least every ten seconds, in the caller's
    thread. Raises at once what concerns the target as a whole (STOPPING), and what is no BackendError, after
    the requests under way.
    """
    waiting = iter(items)
    with ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="keeper-sync") as pool:
        running = {pool.submit(copy_context().run, work, item): item for item in islice(waiting, BATCH)}
        try:
            while running:
                heartbeat()
                done, _ = wait(running, timeout=_HEARTBEAT_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    item = running.pop(future)
                    running |= {
                        pool.submit(copy_context().run, work, more): more for more in islice(waiting, 1)
                    }
                    yield item, _result_of(future.result)
        finally:
            for future in running:
                future.cancel()


class WorkerPool:
    """The threads of one pass, for work that is started now and whose answers are gathered later."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="keeper-sync")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let what is under way end; what waits is not begun."""
        self._pool.shutdown(cancel_futures=True)

    def start(self, work: Callable[[Item], Answer], items: Iterable[Item]) -> "RunningBatch[Item, Answer]":
        return RunningBatch(self._pool, work, items)


class RunningBatch(Generic[Item, Answer]):
    """The items that a pool works on, until their answers are gathered."""

    def __init__(
        self, pool: ThreadPoolExecutor, work: Callable[[Item], Answer], items: Iterable[Item]
    ) -> None:
        self._over = Event()
        self._ended: SimpleQueue[Future[Answer]] = SimpleQueue()
        self._running = {pool.submit(copy_context().run, self._run, work, item): item for item in items}
        for future in self._running:
            future.add_done_callback(self._ended.put)

    def results(self, *, heartbeat: Callable[[], None]) -> Iterator[tuple[Item, Answer | BackendError]]:
        """Yield each item with its answer or the target's error, in the order of completion.

        After an error that concerns the target as a whole (STOPPING), and once the worker was asked to
        stop, what was not begun is left out. `heartbeat` is called as in `run_each`. Raises what is no
        BackendError.
        """
        while self._running:
            heartbeat()
            if jobs_leases.is_shutdown_requested():
                self._over.set()
            try:
                future = self._ended.get(timeout=_HEARTBEAT_SECONDS)
            except Empty:
                continue
            item = self._running.pop(future)
            if not future.cancelled() and not isinstance(future.exception(), _NotStarted):
                yield item, _result_of(future.result, stopping=())

    def _run(self, work: Callable[[Item], Answer], item: Item) -> Answer:
        """Work on an item; after an error of STOPPING the very thread that got it begins nothing more."""
        if self._over.is_set():
            raise _NotStarted
        try:
            return work(item)
        except STOPPING:
            self._over.set()
            raise


class ReadAhead(Generic[Item]):
    """Reads an iterable to its end in a thread of its own while the caller does something else."""

    def __init__(self, read: Callable[[], Iterable[Item]]) -> None:
        self._read = read
        self._parts: SimpleQueue[list[Item]] = SimpleQueue()
        self.is_over = Event()

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="keeper-sync")
        self._reading = self._pool.submit(copy_context().run, self._read_parts)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the request that is under way end; no other one is begun."""
        self.is_over.set()
        self._pool.shutdown()

    def items(self, *, heartbeat: Callable[[], None]) -> Iterator[Item]:
        """Yield all items; `heartbeat` is called as in `run_each`. Raises what reading them raised."""
        while True:
            heartbeat()
            try:
                part = self._parts.get(timeout=_HEARTBEAT_SECONDS)
            except Empty:
                continue
            yield from part
            if not part:
                self._reading.result()
                return

    def _read_parts(self) -> None:
        try:
            waiting = iter(self._read())
            while not self.is_over.is_set() and (part := list(islice(waiting, BATCH))):
                self._parts.put(part)
        finally:
            # Nothing more comes.
            self._parts.put([])


class _NotStarted(Exception):
    """An item was not begun."""


def _result_of(
    result: Callable[[], Answer], *, stopping: tuple[type[BackendError], ...] = STOPPING
) -> Answer | BackendError:
    try:
        return result()
    except stopping:
        raise
    except BackendError as error:
        return error
