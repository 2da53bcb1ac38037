"""Carries out the jobs that wait, each by one worker, and stores how far each is.

A job may be repeated, so that one whose worker died is carried out again.
"""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final, TypeVar
from uuid import UUID

from django.db.models import F, QuerySet
from django.utils import timezone

from audit_app.events.actors import Actor, ActorKind
from core.db.concurrency import claim, unleased
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import load_principal
from environments_app.models import JobState, OperatorJob

ATTEMPTS: Final = 3
# A job that came with a restored database is of days ago.
_STALE_AFTER: Final = timedelta(days=1)
STORE_SECONDS: Final = 1.0
# Whether a step went well, and what it did.
Step = tuple[bool, str]
# What is done now, how many rows of it are, and of how many.
Progress = Callable[[str, int, int], None]
Job = TypeVar("Job", bound=OperatorJob)
Work = Callable[[Job, Progress], Iterator[Step]]


def run_jobs(
    rows: QuerySet[Job], work: Work[Job], *, lease: timedelta, refusals: tuple[type[Exception], ...]
) -> None:
    """Carry out the jobs that wait; an error among `refusals` ends a job, with its text.

    `rows` is a queryset without conditions. `lease` is longer than the work takes between two reports of
    progress: after it another worker takes the job.
    """
    now = timezone.now()
    rows.filter(finished_at=None, requested_at__lt=now - _STALE_AFTER).update(
        state=JobState.FAILED, finished_at=now, step="not started within a day"
    )
    waiting = rows.filter(unleased(now, lease), finished_at=None).order_by("pk")
    for pk in waiting.values_list("pk", flat=True):
        changes = {"lease_until": now + lease, "attempts": F("attempts") + 1, "state": JobState.RUNNING}
        job = claim(rows, pk, unleased(now, lease), started_at=now, **changes)
        if job:
            _carry_out(job, work, lease, refusals)


def requester(job: OperatorJob) -> Principal:
    """Return who asked for a job, with the rights of this moment."""
    return load_principal(Actor(kind=ActorKind.USER, uuid=UUID(str(job.person)), name=job.person_name))


def _carry_out(job: Job, work: Work[Job], lease: timedelta, refusals: tuple[type[Exception], ...]) -> None:
    if job.attempts > ATTEMPTS:
        _end(job, JobState.FAILED, "its worker ended several times")
        return
    job.results, fine = [], True
    try:
        for ok, text in work(job, _progress(job, lease)):
            fine = fine and ok
            job.results.append(text)
            _store(job, lease)
    except refusals as error:
        _end(job, JobState.FAILED, str(error))
    else:
        _end(job, JobState.DONE if fine else JobState.PROBLEMS, "")


def _progress(job: OperatorJob, lease: timedelta) -> Progress:
    """Return what keeps the progress of a job, a second at most behind."""
    stored = time.monotonic() - STORE_SECONDS

    def keep(step: str, done: int, total: int) -> None:
        nonlocal stored
        job.step, job.done, job.total = step[:200], done, total
        if time.monotonic() - stored >= STORE_SECONDS:
            stored = time.monotonic()
            _store(job, lease)

    return keep


def _store(job: OperatorJob, lease: timedelta) -> None:
    job.lease_until = timezone.now() + lease
    job.save(update_fields=["step", "done", "total", "results", "lease_until"])


def _end(job: OperatorJob, state: JobState, problem: str) -> None:
    job.state, job.finished_at, job.lease_until = state, timezone.now(), None
    job.step = problem[:200]
    if problem:
        job.results.append(problem)
    job.save(update_fields=["state", "finished_at", "lease_until", "step", "results"])
