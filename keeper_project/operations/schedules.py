"""The schedule of beat: what runs how often, and when next."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from celery.schedules import crontab
from django.conf import settings
from django.utils import timezone


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One entry of the schedule; `next_at` is None for what runs all the time."""

    name: str
    task: str
    often: str
    next_at: datetime | None


def schedules() -> list[Schedule]:
    """Return every entry of the schedule, by name."""
    return [_schedule(name, entry) for name, entry in sorted(settings.CELERY_BEAT_SCHEDULE.items())]


def _schedule(name: str, entry: dict[str, Any]) -> Schedule:
    when = entry["schedule"]
    if isinstance(when, crontab):
        return Schedule(name=name, task=entry["task"], often=_words(when), next_at=_next(when))
    return Schedule(name=name, task=entry["task"], often=f"every {when:g} s", next_at=None)


def _words(when: crontab) -> str:
    """Return the five fields of cron, which Celery shows in the representation alone."""
    return "cron " + repr(when).removeprefix("<crontab: ").partition(" (")[0]


def _next(when: crontab) -> datetime:
    """Return the minute that comes next; Celery counts from a moment after `now`."""
    now = timezone.now()
    left = timedelta(seconds=max(0.0, when.remaining_estimate(now).total_seconds()) + 1)
    return (now + left).replace(second=0, microsecond=0)
