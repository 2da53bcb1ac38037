"""Lines about long work of a command on standard error, for a person who waits."""

import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from core.ui.times import duration

SECONDS: Final = 5.0


class Stream(Protocol):
    """Standard error of a command."""

    def isatty(self) -> bool: ...

    def write(self, text: str, /) -> object: ...


def add_progress(parser: ArgumentParser) -> None:
    """Let a command take `--progress`."""
    parser.add_argument(
        "--progress", action="store_true", help="a line every 5 s on standard error, as on a terminal"
    )


@contextmanager
def reported(stream: Stream, *, asked: bool, text: Callable[[], str]) -> Iterator[None]:
    """Write `text()` and the time that has passed every 5 s: on a terminal, or if asked for.

    From a thread, so that a single long step shows as well. `text` may use no database.
    """
    if not asked and not stream.isatty():
        yield
        return
    started, ended = time.monotonic(), threading.Event()

    def write() -> None:
        while not ended.wait(SECONDS):
            stream.write(f"{text()}, after {duration(time.monotonic() - started)}\n")

    thread = threading.Thread(target=write, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
