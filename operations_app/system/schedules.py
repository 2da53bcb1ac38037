"""The schedule of beat: what runs how often, how it last ended, when it runs next, and early requests.

`ContainedTask` (celery.py) wraps each run of a task in `noted`.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from celery.schedules import crontab
from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db.models import F
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from core.workers import nudge
from environments_app.authorization.policy import Principal, require, require_confirmed
from environments_app.errors import InvalidField
from operations_app.models import ScheduledTask

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
    started, clock = timezone.now(), time.monotonic()
    try:
        yield
    except Exception as failure:
        _note(task, started, clock, type(failure).__name__)
        raise
    if may_be_requested(entry) or time.monotonic() - _noted_at.get(task, -OFTEN_SECONDS) >= OFTEN_SECONDS:
        _note(task, started, clock, "")


def _note(task: str, started: datetime, clock: float, error: str) -> None:
    """Store a run; a database that cannot be written does not fail the task."""
    _noted_at[task] = time.monotonic()
    try:
        _store(
            task,
            started_at=started,
            milliseconds=int((time.monotonic() - clock) * 1000),
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


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One entry of the schedule; `next_at` is None for what runs all the time.

    `last` is None before a worker ran it.
    """

    name: str
    often: str
    next_at: datetime | None
    last: ScheduledTask | None
    requestable: bool


def schedules() -> list[Schedule]:
    """Return every entry of the schedule, by name; one statement."""
    last_runs = {task.task: task for task in ScheduledTask.objects.all()}
    return [_schedule(name, entry, last_runs.get(entry["task"])) for name, entry in sorted(entries().items())]


def _schedule(name: str, entry: dict[str, Any], last: ScheduledTask | None) -> Schedule:
    when = entry["schedule"]
    is_cron = isinstance(when, crontab)
    return Schedule(
        name=name,
        often=_words(when) if is_cron else f"every {when:g} s",
        next_at=_next(when) if is_cron else _after(last, when),
        last=last,
        requestable=may_be_requested(entry),
    )


def _words(when: crontab) -> str:
    """Return the five fields of cron, which Celery shows in the representation alone."""
    return "cron " + repr(when).removeprefix("<crontab: ").partition(" (")[0]


def _next(when: crontab) -> datetime:
    """Return the minute that comes next; Celery counts from a moment after `now`."""
    now = timezone.now()
    time_left = timedelta(seconds=max(0.0, when.remaining_estimate(now).total_seconds()) + 1)
    return (now + time_left).replace(second=0, microsecond=0)


def _after(last: ScheduledTask | None, seconds: float) -> datetime | None:
    """Return when an interval is over, if it is long enough for the last run to be stored."""
    if last is None or last.started_at is None or seconds < OFTEN_SECONDS:
        return None
    return last.started_at + timedelta(seconds=seconds)
