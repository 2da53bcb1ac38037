"""How scheduled tasks last ended, and requests to run one ahead of its schedule.

`ContainedTask` (celery.py) wraps each run of a task in `noted`.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from celery.schedules import crontab
from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db.models import F
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.interfaces.nudges import nudge
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from environments_app.authorization.policy import Principal, require, require_confirmed
from environments_app.errors import InvalidField
from keeper_project.models import ScheduledTask

RUN_REQUESTED: Final = "keeper_project.tasks.run_requested_tasks"
# What runs more often is due before a request reaches a worker, and is noted this often at most.
OFTEN_SECONDS: Final = 60.0
# They destroy what their settings let them; everything else only does its due work sooner.
ASKS_FOR_PROOF: Final = frozenset({"prune-trail", "purge-deleted"})
# A request that came with a restored database is of days ago.
_STALE_AFTER: Final = timedelta(days=1)
_noted_at: dict[str, float] = {}
_log = logging.getLogger(__name__)


def entries() -> dict[str, dict[str, Any]]:
    """Return the schedule of the settings, by the names of its entries."""
    schedule: dict[str, dict[str, Any]] = settings.CELERY_BEAT_SCHEDULE
    return schedule


def may_be_requested(entry: dict[str, Any]) -> bool:
    """Return whether an entry of the schedule waits long enough between runs to be asked for."""
    return isinstance(entry["schedule"], crontab) or entry["schedule"] >= OFTEN_SECONDS


def request_run(*, actor: Principal, name: str) -> None:
    """Ask a worker to run an entry of the schedule now, and record that.

    Raises Forbidden, ConfirmationNeeded for what destroys, or InvalidField if no entry of this name may be
    requested.
    """
    require(actor=actor, action=Action.SCHEDULE_RUN, environment=None)
    entry = entries().get(name)
    if entry is None or not may_be_requested(entry):
        raise InvalidField("schedule", "Choose scheduled work from the list.")
    if name in ASKS_FOR_PROOF:
        require_confirmed(actor)
    commit_record(
        actor=actor,
        action=Action.SCHEDULE_RUN,
        stream=streams.SYSTEM,
        object=AuditObject("schedule", deployment_uuid(), name),
        details={"task": entry["task"]},
    )
    _store(entry["task"], requested_at=timezone.now(), requested_by=actor.name)
    nudge(RUN_REQUESTED)


def run_requested() -> None:
    """Send the requested tasks, each once; what the schedule does not name is dropped."""
    waiting = ScheduledTask.objects.filter(requested_at__isnull=False)
    scheduled = {entry["task"] for entry in entries().values()}
    oldest = timezone.now() - _STALE_AFTER
    for task, at in list(waiting.values_list("task", "requested_at")):
        if waiting.filter(task=task).update(requested_at=None) and task in scheduled and at and at > oldest:
            nudge(task)


@contextmanager
def noted(task: str) -> Iterator[None]:
    """Store how this run of a task ends, if the schedule names the task."""
    entry = next((entry for entry in entries().values() if entry["task"] == task), None)
    if entry is None:
        yield
        return
    started, begun = timezone.now(), time.monotonic()
    try:
        yield
    except Exception as failure:
        _note(task, started, begun, type(failure).__name__)
        raise
    if may_be_requested(entry) or time.monotonic() - _noted_at.get(task, -OFTEN_SECONDS) >= OFTEN_SECONDS:
        _note(task, started, begun, "")


def _note(task: str, started: datetime, begun: float, error: str) -> None:
    """Store a run; a database that cannot be written does not fail the task."""
    _noted_at[task] = time.monotonic()
    try:
        _store(
            task,
            started_at=started,
            milliseconds=int((time.monotonic() - begun) * 1000),
            error=error,
            failures=F("failures") + 1 if error else 0,
        )
    except DatabaseProblem as problem:
        _log.warning(
            "the end of %s was not stored (%s)", task, type(problem).__name__, extra={"cause": problem}
        )


def _store(task: str, **columns: Any) -> None:
    rows = ScheduledTask.objects.filter(task=task)
    if not rows.update(**columns):
        ScheduledTask.objects.bulk_create([ScheduledTask(task=task)], ignore_conflicts=True)
        rows.update(**columns)
