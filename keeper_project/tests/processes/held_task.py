"""A task that says when it begins, waits to be let go, and says when it has ended; and a Keeper that knows it.

`python -m keeper_project.tests.processes.held_task run ...` is `keeper run`; a worker of Celery's takes it by --include.
"""

import functools
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from celery import shared_task
from celery.beat import Scheduler
from celery.concurrency.thread import TaskPool
from celery.signals import worker_ready

from keeper_project.runtime import cli, supervisor

NAME = "keeper_project.tests.processes.held_task.hold"
LEFT = "left"
PATIENCE = "KEEPER_TEST_STOP_SECONDS"
FOLDER = "KEEPER_TEST_HELD_FOLDER"
WANTED = "wanted"
ENDS = "ends"
BEAT_DIES = "beat dies"


@shared_task(name=NAME)
def hold(folder: str, name: str) -> None:
    """Begin, wait for a file, and end: each is a line."""
    if name == ENDS:
        sys.exit("a task that ends its process")
    _tell_what_is_left(folder)
    _note(folder, "begun", name)
    while not (Path(folder) / "go").exists():
        time.sleep(0.02)
    _note(folder, "ended", name)


@worker_ready.connect
def take_what_is_wanted(**_signal: object) -> None:
    """In a worker that no message from outside reaches, begin what a file asks for."""
    if folder := os.environ.get(FOLDER):
        threading.Thread(target=_take_wanted, args=(Path(folder),), daemon=True).start()


def _take_wanted(folder: Path) -> None:
    tick = Scheduler.tick

    def ticks(self: Any, *given: Any, **options: Any) -> Any:
        if (folder / BEAT_DIES).exists():
            (folder / BEAT_DIES).unlink()
            raise RuntimeError("a beat that dies")
        return tick(self, *given, **options)

    Scheduler.tick = ticks  # type: ignore[method-assign]
    while not (folder / WANTED).exists():
        time.sleep(0.02)
    for name in (folder / WANTED).read_text().splitlines():
        hold.delay(str(folder), name)


@functools.cache
def _tell_what_is_left(folder: str) -> None:
    """Have this worker make a file once it will begin nothing more: what waits for a thread is dropped by then."""
    stop = TaskPool.on_stop

    def noted(self: Any) -> None:
        threading.Thread(target=_note_when_dropped, args=(self.executor, folder), daemon=True).start()
        stop(self)

    TaskPool.on_stop = noted  # type: ignore[method-assign]


def _note_when_dropped(executor: Any, folder: str) -> None:
    while not executor._shutdown:
        time.sleep(0.02)
    # It is dropped under this lock, at once.
    with executor._shutdown_lock:
        (Path(folder) / LEFT).touch()


def _note(folder: str, what: str, name: str) -> None:
    with (Path(folder) / what).open("a") as lines:
        lines.write(f"{name}\n")


if __name__ == "__main__":
    if PATIENCE in os.environ:
        supervisor.STOP_SECONDS = float(os.environ[PATIENCE])  # type: ignore[misc]
    cli.main()
