"""Asks a system for several things at once, within the bounds of the thread that asks."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def read_in_parallel(
    read: Callable[[Item], Answer], items: Iterable[Item], *, threads: int
) -> Iterator[Answer]:
    """Yield what `read` returns for each item, in their order, by so many threads.

    Raises what `read` raises; what is not begun by then is left out.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="keeper-sync") as pool:
        running = [pool.submit(copy_context().run, read, item) for item in items]
        try:
            for future in running:
                yield future.result()
        finally:
            for future in running:
                future.cancel()
