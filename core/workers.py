"""How work reaches workers, and how much of it runs at once.

A message to a worker is a hint: the row that it names is the work. It is sent ahead of the schedule.

Work that waits for other systems, or takes minutes, takes one of the long slots, which are half of the
worker. The other half is reserved. Of that, each of four kinds that may wait too (checkpoints, checks of
keys, states of keys, alerts) takes one thread at most. Work that uses the database alone takes no slot:
among ten threads one is always free for it, and for the heartbeat. A worker is one process of threads.

A service that saves time and is not needed, such as a cache or the queue of hints, gets bounded calls. A
library's timeout bounds one wait: a name lookup has none, and a server that sends a byte before each wait
ends is waited for without end. So each call has a thread of its own. After a call without an answer the
service is left alone for a while: a page that makes ten calls waits for one.
"""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from functools import cache
from typing import Any, Final, TypeVar

from celery import current_app, current_task
from celery.signals import celeryd_after_setup
from django.conf import settings
from kombu.exceptions import OperationalError

from core.errors import ServiceAway

# The threads of a worker, set before it starts them; 0 in other processes.
_concurrency = 0
_held: Counter[str] = Counter()
_counting = threading.Lock()


@contextmanager
def slot(kind: str, *, share: float = 0) -> Iterator[bool]:
    """Hold a long slot for a kind of work, and yield whether there was one; never waits.

    The kind has this share of the long slots, and one at least. Outside a worker there is always one.
    """
    with part(kind, share=share) as is_free, _one_of("long", _long_slots()) as is_free_too:
        yield is_free and is_free_too


@contextmanager
def part(kind: str, *, share: float = 0) -> Iterator[bool]:
    """Hold one of a kind's own slots, which are as many as in `slot`, and not among the long ones."""
    with _one_of(kind, max(1, int(_long_slots() * share))) as is_free:
        yield is_free


def work_alone(place: AbstractContextManager[bool], work: Callable[[], object]) -> None:
    """Do a piece of work in a slot or part, unless there is none."""
    with place as is_free:
        if is_free:
            work()


def _long_slots() -> int:
    return max(1, _concurrency // 2)


@contextmanager
def _one_of(kind: str, number: int) -> Iterator[bool]:
    if not _concurrency:
        yield True
        return
    with _counting:
        is_free = _held[kind] < number
        _held[kind] += is_free
    try:
        yield is_free
    finally:
        with _counting:
            _held[kind] -= is_free


@celeryd_after_setup.connect
def _count_threads(instance: Any, **_signal: object) -> None:
    global _concurrency  # noqa: PLW0603 - a process is one worker, or none
    _concurrency = instance.concurrency


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


# What a message may take altogether, and for how long none is sent after one that failed.
_SECONDS: Final = 2.0
_REST_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


def nudge(task: str, *arguments: int, after: float = 0) -> None:
    """Ask a worker to run a task now, or after some seconds.

    Does nothing where no worker can be reached: the schedule runs the task soon.
    """
    if settings.KEEPER_EMBEDDED_WORKER and not bool(current_task):
        # Without a broker, only tasks share memory with the worker.
        return
    calls = broker_calls()
    try:
        calls.run(
            lambda: current_app.send_task(task, args=list(arguments), countdown=after, ignore_result=True)
        )
    except ServiceAway as error:
        if error.__cause__ is not None:
            logger.warning("no worker could be nudged (%s); the schedule will find it", error)
    except calls.failures as error:
        logger.warning("no worker could be nudged (%s); the schedule will find it", type(error).__name__)


@cache
def broker_calls() -> BoundedCalls:
    """Return how the broker of this process is asked to take messages."""
    # A broker that takes no messages: a replica, a full memory, or a user who may not.
    refusals = current_app.connection_for_write().channel_errors
    return BoundedCalls(
        "broker", seconds=_SECONDS, rest=_REST_SECONDS, failures=(OperationalError, OSError, *refusals)
    )


def has_backlog() -> bool:
    """Return whether messages wait in the memory of the embedded worker; False where there is a broker.

    Each look sends a message for every row that waits. While earlier ones still wait, another look would
    only repeat them.
    """
    if not settings.KEEPER_EMBEDDED_WORKER:
        return False
    queue = current_app.conf.task_default_queue
    with current_app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        return bool(channel.queue_declare(queue=queue).message_count)
