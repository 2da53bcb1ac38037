"""The process that test_flushed.py asks for real workers and real beats of Celery, over the same broker.

Each is forked, so that it starts at once, and runs what `celery worker` and `celery beat` run. Beat
ticks faster than in production and leases are shorter; nothing else is changed.
"""

import os
import signal
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from celery.app.utils import find_app
from celery.signals import worker_shutting_down
from django.conf import settings
from django.db import connections

from sync_app.jobs import leases
from sync_app.models import Run, Target
from sync_app.models.run import RunKind
from sync_app.targets import service as targets
from sync_app.tests.applying.processes import fleet

# As `celery -A` finds it.
app = find_app("keeper_project.celery")
TICK_SECONDS = 0.3
HEARD_SECONDS = 120
WORKER = ["worker", "--pool", "threads", "--concurrency", "2", "--loglevel", "WARNING"]
ALONE = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
started: dict[int, str] = {}


def serve(workers: int, beats: int, lease_seconds: float) -> dict[str, Any]:
    """Start workers and beats; they run until this process ends, or somebody kills them."""
    connections.close_all()
    leases.LEASE = timedelta(seconds=lease_seconds)  # type: ignore[misc]
    leases._RENEW_AFTER_SECONDS = lease_seconds / 4  # type: ignore[misc]
    for number in range(workers):
        _start(f"worker {number}", [*WORKER, *ALONE, "--hostname", f"worker{number}@test"], app.worker_main)
    for number in range(beats):
        schedule = str(Path(settings.KEEPER_DATA_DIR) / f"beat{number}")
        _start(f"beat {number}", ["beat", "--schedule", schedule, "--loglevel", "WARNING"], app.start)
    return {}


def kill_holder(run: int) -> dict[str, Any]:
    """Kill the worker that holds a run, if one does that was not killed yet."""
    owner = Run.objects.values_list("lease_owner", flat=True).get(pk=run)
    pid = int(owner.split(":")[1]) if owner else 0
    if pid not in started:
        return {"killed": 0}
    del started[pid]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return {"killed": 1}


def stop_holder(run: int) -> dict[str, Any]:
    """Ask the worker that holds a run to stop, and return its pid once it has heard."""
    owner = Run.objects.values_list("lease_owner", flat=True).get(pk=run)
    pid = int(owner.split(":")[1])
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + HEARD_SECONDS
    while not _heard(pid).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("it never heard")
        time.sleep(0.02)
    return {"pid": pid}


def _heard(pid: int) -> Path:
    """Return the file by which a worker says that it was asked to stop."""
    return Path(settings.KEEPER_DATA_DIR) / f"heard-{pid}"


def after_stop(pid: int, run: int) -> dict[str, Any]:
    """Wait until a worker has ended; return its exit code, and how it left a run."""
    del started[pid]
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    left = Run.objects.get(pk=run)
    held = bool(left.lease_owner or left.lease_until)
    return {
        "code": code,
        "state": left.state,
        "held": held,
        "attempts": left.attempts,
        "finished": left.finished,
        "error": left.error,
    }


def count(target: int) -> dict[str, Any]:
    """Return how many passes a target ever had, how many go on, and who ended without being killed.

    A check for drift, which falls due by the clock, is no pass.
    """
    runs = Run.objects.filter(target=target).exclude(kind=RunKind.CHECK)
    ended = [name for pid, name in started.items() if os.waitpid(pid, os.WNOHANG)[0]]
    return {
        "runs": runs.count(),
        "active": runs.filter(active=True).count(),
        "last": runs.order_by("pk").values_list("pk", flat=True).last(),
        "ended": ended,
    }


def automate(target: int) -> dict[str, Any]:
    """Let a target be synced at once, by itself, and after each change."""
    found = Target.objects.select_related("environment").get(pk=target)
    targets.change(actor=fleet.alice(), target=found, automatic=True, interval_seconds=3600)
    return {}


def _start(name: str, arguments: list[str], run: Callable[[list[str]], Any]) -> None:
    if child := os.fork():
        started[child] = name
        return
    os.dup2(2, 1)
    # After Keeper's own receiver, which was there before.
    worker_shutting_down.connect(lambda **_signal: _heard(os.getpid()).touch(), weak=False)
    try:
        due = dict(settings.CELERY_BEAT_SCHEDULE["sync-due"], schedule=TICK_SECONDS)
        app.conf.beat_schedule = {"sync-due": due}
        run(arguments)
        # It was asked to.
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the parent finds out that it ended
        traceback.print_exc()
    os._exit(70)


def main() -> None:
    """Answer what is asked; nobody who was started stays behind."""
    try:
        fleet.main(serve, kill_holder, stop_holder, after_stop, count, automate)
    finally:
        for each in started:
            os.kill(each, signal.SIGKILL)
