"""The schedule of beat: what runs how often, how it last ended, and when it runs next."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from celery.schedules import crontab
from django.utils import timezone

from keeper_project.models import ScheduledTask
from keeper_project.operations.schedule_runs import OFTEN_SECONDS, entries, may_be_requested


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
    known = {each.task: each for each in ScheduledTask.objects.all()}
    return [_schedule(name, entry, known.get(entry["task"])) for name, entry in sorted(entries().items())]


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
    left = timedelta(seconds=max(0.0, when.remaining_estimate(now).total_seconds()) + 1)
    return (now + left).replace(second=0, microsecond=0)


def _after(last: ScheduledTask | None, seconds: float) -> datetime | None:
    """Return when an interval is over, if it is long enough for the last run to be stored."""
    if last is None or last.started_at is None or seconds < OFTEN_SECONDS:
        return None
    return last.started_at + timedelta(seconds=seconds)
