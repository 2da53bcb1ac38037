"""Slots of a worker: how many of its threads or processes long work takes at once.

Work that waits for other systems, or takes minutes, takes one of the long slots, which are half of the
worker. The other half is reserved. Of that, each of four kinds that may wait too (checkpoints, checks of
keys, states of keys, alerts) takes one thread at most, and work that asks the database alone takes no
slot: among ten threads one is always free for it, and for the heartbeat. A slot is a lock on a file: it
holds across a worker's processes and threads, and ends with its holder.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from celery.signals import celeryd_after_setup, worker_shutdown

# Set once in a worker, before it starts its threads or processes.
_folder: Path | None = None
_concurrency = 0


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
    with ExitStack() as held:
        if _folder is None:
            yield True
            return
        yield any(_locked(held, _folder / f"{kind}-{index}") for index in range(number))


def _locked(held: ExitStack, path: Path) -> bool:
    # A service that tidies temporary files may have removed the folder of a worker that runs for weeks.
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    held.callback(os.close, descriptor)
    return True


@celeryd_after_setup.connect
def _lay_out(instance: Any, **_signal: object) -> None:
    global _folder, _concurrency
    _folder, _concurrency = Path(tempfile.mkdtemp(prefix="keeper-slots-")), instance.concurrency


@worker_shutdown.connect
def _clear(**_signal: object) -> None:
    if _folder is not None:
        with suppress(OSError):
            shutil.rmtree(_folder)
