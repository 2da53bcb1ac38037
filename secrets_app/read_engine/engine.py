"""One thread that serves the reads of all requests of a process that wait.

A batch takes one query for the tokens, one for the secrets, and one transaction for all events
(`recorded_read`). The thread holds no value and never asks KMS: the waiting threads open what they were
granted.
"""

import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

from django.db import InterfaceError, OperationalError, connection

from audit_app.db.conflicts import is_collision
from secrets_app.metrics import READ_BATCH
from secrets_app.read_engine.recorded_read import Request, Serve, Served, serve

MAX_BATCH: Final = 100
# Those of the batch at hand are among them. Each holds a thread of the server.
MAX_WAITING: Final = 200
# For this long a request waits. A batch that takes longer than STUCK_SECONDS makes the process unready.
WAIT_SECONDS: Final = 15.0
STUCK_SECONDS: Final = 20.0
# How often the connection is looked at.
_CHECK_SECONDS: Final = 10.0
# After a failure that took longer a batch is not tried again.
_RETRY_SECONDS: Final = 2.0
_STOP_SECONDS: Final = 5.0
logger = logging.getLogger(__name__)


class EngineBusy(Exception):
    """Too many reads wait, or the engine did not answer in time. Nothing was revealed."""


class _Waiting:
    """A request and the thread that waits for its answer; `read` stays None for the general path."""

    __slots__ = ("answered", "is_abandoned", "read", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.read: Served = None
        self.is_abandoned = False
        self.answered = threading.Lock()
        self.answered.acquire()


class ReadEngine:
    """Serves the reads of a process, by one thread that starts with the first of them.

    `serve` answers a batch; `clock` is monotonic, in seconds.
    """

    def __init__(
        self, *, serve: Serve = serve, clock: Callable[[], float] = time.monotonic, wait: float = WAIT_SECONDS
    ) -> None:
        self._serve, self._clock, self._wait = serve, clock, wait
        self._forget()
        # A child process has none of its parent's threads.
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._room = threading.BoundedSemaphore(MAX_WAITING)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._busy_since: float | None = None
        self._checked_at = self._clock()
        self._is_stopped = False

    def read(self, request: Request) -> Served:
        """Wait for a read to be granted and recorded; None if the general path has to decide.

        Raises EngineBusy.
        """
        if self._is_stopped:
            return None
        if not self._room.acquire(blocking=False):
            raise EngineBusy
        try:
            return self._awaited(_Waiting(request))
        finally:
            self._room.release()

    def _awaited(self, waiting: _Waiting) -> Served:
        self._queue.put(waiting)
        self._ensure_thread()
        if not waiting.answered.acquire(timeout=self._wait):
            waiting.is_abandoned = True
            raise EngineBusy
        return waiting.read

    def stuck_seconds(self) -> float:
        """Return for how long the batch at hand has been worked on, 0 if there is none."""
        since = self._busy_since
        return 0.0 if since is None else self._clock() - since

    def stop(self) -> None:
        """Serve what waits, and end the thread; reads that come later are left to the general path."""
        self._is_stopped = True
        thread = self._thread
        self._queue.put(None)
        if thread:
            thread.join(_STOP_SECONDS)

    def _ensure_thread(self) -> None:
        thread = self._thread
        if thread is None or not thread.is_alive():
            with self._starting:
                if self._thread is thread:
                    self._thread = threading.Thread(target=self._run, name="read-engine", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                self._answer(batch)
        finally:
            try:
                connection.close()
            finally:
                self._end()

    def _end(self) -> None:
        """Leave requests that came since the last batch, and saw a thread, to another one."""
        self._thread = None
        if not self._queue.empty():
            self._ensure_thread()

    def _next_batch(self) -> list[_Waiting]:
        """Wait for a request, and return it with all others that wait; none once the engine is stopped."""
        batch = []
        waiting = self._queue.get()
        with suppress(Empty):
            while waiting:
                batch.append(waiting)
                if len(batch) == MAX_BATCH:
                    break
                waiting = self._queue.get_nowait()
        if waiting is None and batch:
            self._queue.put(None)
        return batch

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        self._busy_since = self._clock()
        wanted = [each for each in batch if not each.is_abandoned]
        try:
            if not wanted:
                return
            self._renew_connection()
            READ_BATCH.observe(len(wanted))
            for each, read in zip(wanted, self._reads([each.request for each in wanted]), strict=True):
                each.read = read
        finally:
            # Also where the thread ends: the next request starts another.
            self._busy_since = None
            for each in batch:
                each.answered.release()

    def _reads(self, requests: Sequence[Request]) -> list[Served]:
        """Serve a batch; after an error each request alone, and what still fails on the general path."""
        try:
            return self._persistently(requests)
        except (OperationalError, InterfaceError) as error:
            logger.warning("the read engine has no database: %s", type(error).__name__)
            return [None] * len(requests)
        except Exception as error:  # noqa: BLE001 - one request must not spoil the batch; the general path judges it
            return self._singly(requests, error)

    def _singly(self, requests: Sequence[Request], error: Exception) -> list[Served]:
        if len(requests) > 1:
            return [read for request in requests for read in self._reads([request])]
        # Its message may hold what the row holds.
        logger.error("the read engine left a read to the general path: %s", type(error).__name__)
        return [None]

    def _persistently(self, requests: Sequence[Request]) -> list[Served]:
        """Serve a batch, once more after a lost connection or a collision with other writers."""
        began = self._clock()
        try:
            return self._serve(requests)
        except OperationalError as error:
            is_slow = self._clock() - began > _RETRY_SECONDS
            if is_slow or not (is_collision(error) or self._has_lost_connection()):
                raise
        return self._serve(requests)

    def _has_lost_connection(self) -> bool:
        """Return whether the server ended the connection; the next statement opens another."""
        connection.close_if_unusable_or_obsolete()
        return connection.connection is None

    def _renew_connection(self) -> None:
        """Close a connection that is old or lost, as Django does for each request."""
        if self._clock() - self._checked_at > _CHECK_SECONDS:
            self._checked_at = self._clock()
            connection.close_if_unusable_or_obsolete()


@functools.cache
def read_engine() -> ReadEngine:
    """Return the engine of this process."""
    return ReadEngine()
