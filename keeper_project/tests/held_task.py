"""A task that says when it begins, waits to be let go, and says when it has ended; and a Keeper that knows it.

`python -m keeper_project.tests.held_task run ...` is `keeper run`; a worker of Celery's takes it by --include.
"""

import os
import time
from pathlib import Path

from celery import shared_task

from keeper_project import cli, supervising

NAME = "keeper_project.tests.held_task.hold"
PATIENCE = "KEEPER_TEST_STOP_SECONDS"


@shared_task(name=NAME)
def hold(folder: str, name: str) -> None:
    """Begin, wait for a file, and end: each is a line."""
    _note(folder, "begun", name)
    while not (Path(folder) / "go").exists():
        time.sleep(0.02)
    _note(folder, "ended", name)


def _note(folder: str, what: str, name: str) -> None:
    with (Path(folder) / what).open("a") as lines:
        lines.write(f"{name}\n")


if __name__ == "__main__":
    if PATIENCE in os.environ:
        supervising.STOP_SECONDS = float(os.environ[PATIENCE])  # type: ignore[misc]
    cli.main()
