"""A Keeper whose first sync run takes all memory: `python -m keeper_project.tests.processes.exhausting run ...`."""

import os
import resource
import signal
import time
from datetime import timedelta
from pathlib import Path

from celery.signals import worker_init

from keeper_project.runtime import cli

FOLDER = "KEEPER_TEST_EXHAUSTED_FOLDER"
BEGAN = "began"
KILLED = "killed"
ROOM = 64 * 1024 * 1024
HELD_SECONDS = 3
# Instead of 60: a run whose worker died is claimed again sooner.
LEASE_SECONDS = 6


def exhaust() -> None:
    """Take all the memory that this process may have, and hold it for a while. Raises MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    taken = []
    for size in (1024 * 1024, 64 * 1024):
        try:
            while True:
                taken.append(bytearray(size))
        except MemoryError:
            continue
    time.sleep(HELD_SECONDS)
    taken.append(bytearray(2 * ROOM))


def work(*_given: object) -> str:
    """Run out of memory the first time, and find nothing to do the next."""
    folder = Path(os.environ[FOLDER])
    if (folder / BEGAN).exists():
        return ""
    (folder / BEGAN).touch()
    if (folder / KILLED).exists():
        # As the kernel ends a process when there is no memory.
        os.kill(os.getpid(), signal.SIGKILL)
    exhaust()
    return ""


@worker_init.connect
def take_memory(**_signal: object) -> None:
    """Have the runs of this worker do the above, and its leases end sooner."""
    from sync_app.jobs import leases
    from sync_app.runs import runner

    leases.LEASE = timedelta(seconds=LEASE_SECONDS)  # type: ignore[misc]
    leases._RENEW_AFTER_SECONDS = LEASE_SECONDS / 4  # type: ignore[misc]
    leases._OVER_AFTER_SECONDS = LEASE_SECONDS  # type: ignore[misc]
    runner._run_kind = work  # type: ignore[assignment]


if __name__ == "__main__":
    cli.main()
