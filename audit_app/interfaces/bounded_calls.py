"""Bounds the calls of a service that saves time and is not needed, such as a cache or a queue of hints.

A timeout of a library bounds one wait: looking a name up has none, and a server that sends a byte before
each wait ends is waited for without end. So each call has a thread of its own. After a call without an
answer the service is left alone for a while: a page that makes ten calls waits for one.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextvars import copy_context
from functools import cache
from typing import Final, TypeVar

from core.errors import ServiceAway

Answer = TypeVar("Answer")

# What hangs holds no more threads than this.
_THREADS: Final = 4


class BoundedCalls:
    """The calls of one service: each takes `seconds` at most; after a failure there is none for `rest`."""

    def __init__(
        self, service: str, *, seconds: float, rest: float = 0.0, failures: tuple[type[BaseException], ...]
    ) -> None:
        self._service, self._seconds, self._rest, self.failures = service, seconds, rest, failures
        self._rests_until = 0.0

    def run(self, act: Callable[[], Answer]) -> Answer:
        """Return what a call returns.

        Raises ServiceAway if it takes too long, or another one failed just now, and what it raises.
        """
        if time.monotonic() < self._rests_until:
            raise ServiceAway(f"{self._service} did not answer a moment ago")
        pending = _threads(self._service, os.getpid()).submit(copy_context().run, act)
        try:
            return pending.result(self._seconds)
        except FutureTimeout as error:
            pending.cancel()
            self._rests_until = time.monotonic() + self._rest
            raise ServiceAway(f"{self._service} gave no answer in {self._seconds:g} s") from error
        except self.failures:
            self._rests_until = time.monotonic() + self._rest
            raise


@cache
def _threads(service: str, _process: int) -> ThreadPoolExecutor:
    """Return the threads of a process: a fork has none of those that its parent started."""
    return ThreadPoolExecutor(_THREADS, thread_name_prefix=service)
