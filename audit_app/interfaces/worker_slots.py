"""Slots of a worker: how many of its threads or processes one kind of work takes at once.

Work that waits for other systems takes a share of them and leaves the rest to checkpoints, alerts and the
heartbeat. A slot is a lock on a file: it holds across a worker's processes and threads, and ends with its
holder.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from celery.signals import celeryd_after_setup, worker_shutdown

# Set once in a worker, before it starts its threads or processes.
_folder: Path | None = None
_concurrency = 0


@contextmanager
def slot(kind: str, *, share: float) -> Iterator[bool]:
    """Hold a slot of a kind of work, and yield whether there was one; never waits.

    The kind has this share of the worker, and one slot at least. Outside a worker there is always one.
    """
    with ExitStack() as held:
        if _folder is None:
            yield True
            return
        number = max(1, int(_concurrency * share))
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
