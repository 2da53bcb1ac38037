"""Asks a target for many things at once: threads that touch the network only, never the database."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from typing import Final, TypeVar

from sync_app.errors import (
    BackendError,
    BadDestination,
    CredentialsRejected,
    MountMissing,
    TargetSealed,
    TargetStandby,
)

CONCURRENCY: Final = 8
# How many are under way or waiting for a thread: what bounds the memory of a pass's values.
BATCH: Final = 100
_PULSE_SECONDS: Final = 10.0
# What is true of the target as a whole: asking for the next secret would answer the same.
STOPPING: Final = (CredentialsRejected, MountMissing, TargetSealed, TargetStandby, BadDestination)

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def no_pulse() -> None:
    """Do nothing: for work that holds no lease."""


def each(
    work: Callable[[Item], Answer], items: Iterable[Item], *, pulse: Callable[[], None] = no_pulse
) -> Iterator[tuple[Item, Answer | BackendError]]:
    """Yield each item with what the work returned, or with the error that the target gave for it.

    The order is that of completion. `pulse` is called at least every ten seconds, in the caller's
    thread. Raises at once what concerns the target as a whole (STOPPING), and whatever is no
    BackendError; what is under way then ends first.
    """
    waiting = iter(items)
    with ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="keeper-sync") as pool:
        running = {pool.submit(work, item): item for item in islice(waiting, BATCH)}
        try:
            while running:
                pulse()
                done, _ = wait(running, timeout=_PULSE_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    item = running.pop(future)
                    running |= {pool.submit(work, more): more for more in islice(waiting, 1)}
                    yield item, _answer(future.result)
        finally:
            for future in running:
                future.cancel()


def _answer(result: Callable[[], Answer]) -> Answer | BackendError:
    try:
        return result()
    except STOPPING:
        raise
    except BackendError as error:
        return error
