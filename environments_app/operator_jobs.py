"""Long work of operators on the audit log: stored as a row, carried out by one worker, with progress.

Jobs are verifications, which are recorded, and previews of what retention would remove. None changes the
audit log. A job may be repeated, so that one whose worker died is carried out again.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import chain, islice
from typing import Final, TypeVar
from uuid import UUID

from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from audit_app.checkpoints.inspection import Discontinuity, discontinuities, since_checkpoint, whole_log
from audit_app.errors import NothingToPrune
from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.check_registry import Problem, run_checks
from audit_app.interfaces import audit_log_policy
from audit_app.models import AuditEvent, StreamHead, deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from audit_app.retention.prune import MINIMUM_DAYS, StreamPlan, plan
from audit_app.verification.stream_walker import ReportingStats, VerificationStats
from core.db.concurrency import claim, retry_collisions, unleased
from core.errors import KeeperError
from core.workers import nudge
from environments_app.authorization.policy import Principal, require
from environments_app.authorization.principals import load_principal
from environments_app.errors import Conflict, InvalidField
from environments_app.models import AuditJob, AuditJobKind, JobState, OperatorJob

logger = logging.getLogger(__name__)

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


class _ClaimLost(Exception):
    """Another worker took the job after this one's lease, or the job has ended."""


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
        try:
            for ok, text in work(job, _progress(job, lease)):
                fine = fine and ok
                job.results.append(text)
                _store(job, lease)
        except refusals as error:
            _end(job, JobState.FAILED, str(error))
        else:
            _end(job, JobState.DONE if fine else JobState.PROBLEMS, "")
    except _ClaimLost:
        logger.warning("A worker stopped a job that it held no longer: %s %s", job._meta.verbose_name, job.pk)


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
    _save_held(job, "step", "done", "total", "results", "lease_until")


def _end(job: OperatorJob, state: JobState, problem: str) -> None:
    job.state, job.finished_at, job.lease_until = state, timezone.now(), None
    job.step = problem[:200]
    if problem:
        job.results.append(problem)
    _save_held(job, "state", "finished_at", "lease_until", "step", "results")


def _save_held(job: OperatorJob, *columns: str) -> None:
    """Store columns of a job while this worker holds it: each claim counts an attempt. Raises _ClaimLost."""
    rows: QuerySet[OperatorJob] = QuerySet(type(job))
    held = rows.filter(pk=job.pk, attempts=job.attempts, finished_at=None)
    if not held.update(**{column: getattr(job, column) for column in columns}):
        raise _ClaimLost


# What is shown; the command lists all.
MOST_PROBLEMS: Final = 100


class Extent(StrEnum):
    """How much to verify."""

    SINCE_CHECKPOINT = "since-checkpoint"
    FULL = "full"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What a verification went through and found, at most MOST_PROBLEMS."""

    extent: Extent
    tally: VerificationStats
    problems: Sequence[Problem]
    discontinuities: Sequence[Discontinuity] = ()

    @property
    def is_sound(self) -> bool:
        return not self.problems


def verify_log(*, actor: Principal, extent: Extent, tally: VerificationStats | None = None) -> Verification:
    """Verify the audit log against its anchors, and in full all rows too; takes a while where there is much.

    `tally` counts during the verification. Raises Forbidden unless the actor administers Keeper.
    """
    require(actor=actor, action=Action.TRAIL_VERIFY, environment=None)
    tally = tally or VerificationStats()
    problems = list(islice(problems_of(extent, tally), MOST_PROBLEMS))
    record_verification(actor=actor, extent=extent, tally=tally, problems=len(problems))
    return Verification(
        extent=extent, tally=tally, problems=problems, discontinuities=list(discontinuities())
    )


def problems_of(extent: Extent, tally: VerificationStats) -> Iterator[Problem]:
    """Yield what is wrong with the audit log, and in full with the rows it covers."""
    if extent is Extent.SINCE_CHECKPOINT:
        return since_checkpoint(tally=tally)
    return chain(whole_log(tally=tally), run_checks())


def record_verification(*, actor: Principal, extent: Extent, tally: VerificationStats, problems: int) -> None:
    """Record how a verification ended, as `last_verification` has it. Raises as `commit_record` does."""
    retry_collisions(
        lambda: commit_record(
            actor=actor,
            action=Action.TRAIL_VERIFY,
            stream=streams.SYSTEM,
            object=AuditObject("trail", deployment_uuid(), "all streams"),
            outcome=Outcome.FAILED if problems else Outcome.ALLOWED,
            details={"extent": extent.value, "problems": problems, **asdict(tally)},
        )
    )


def last_verification(*, actor: Principal) -> AuditEvent | None:
    """Return the event of the newest verification that was carried through, or None.

    Its outcome is `failed` if something was found. Such a one stays the last until everything was verified
    and found sound. Raises Forbidden unless the actor may verify.
    """
    require(actor=actor, action=Action.TRAIL_VERIFY, environment=None)
    # By the act's index. Requests of the same act have no count of problems.
    ended = AuditEvent.objects.filter(action=Action.TRAIL_VERIFY, details__contains='"problems":')
    newest = ended.order_by("-id")
    is_full = Q(details__contains=f'"extent":"{Extent.FULL}"')
    decisive = newest.filter(is_full | Q(outcome=Outcome.FAILED)).first()
    return decisive if decisive and decisive.outcome == Outcome.FAILED else newest.first()


RUN: Final = "environments_app.tasks.run_audit_jobs"
MOST_DAYS: Final = 36_500
_EXTENTS: Final = {AuditJobKind.VERIFY_NEW: Extent.SINCE_CHECKPOINT, AuditJobKind.VERIFY_ALL: Extent.FULL}
# The checks of rows after the events report nothing before they find something.
_LEASE: Final = timedelta(minutes=30)


def request(*, actor: Principal, kind: str, days: int = 0) -> AuditJob:
    """Ask a worker for a verification, or for a preview of retention after some days; recorded.

    Raises Forbidden, InvalidField, or Conflict while another job waits or runs.
    """
    require(actor=actor, action=Action.TRAIL_VERIFY, environment=None)
    if kind not in AuditJobKind:
        raise InvalidField("kind", "Choose what to do.")
    is_preview = kind == AuditJobKind.PREVIEW
    if is_preview and not MINIMUM_DAYS <= days <= MOST_DAYS:
        raise InvalidField("days", f"Enter {MINIMUM_DAYS} to {MOST_DAYS:,} days.")
    if AuditJob.objects.filter(finished_at=None).exists():
        raise Conflict("A job on the audit log is queued or running. Wait for it to finish.")
    commit_record(
        actor=actor,
        action=Action.TRAIL_VERIFY,
        stream=streams.SYSTEM,
        object=AuditObject("trail", deployment_uuid(), "all streams"),
        details={"step": "requested", "kind": kind, "days": days if is_preview else 0},
    )
    job = AuditJob.objects.create(
        kind=kind, days=days if is_preview else 0, person=actor.uuid, person_name=actor.name
    )
    nudge(RUN)
    return job


def run() -> None:
    """Carry out the jobs that wait, each by one worker."""
    run_jobs(AuditJob.objects.all(), _steps, lease=_LEASE, refusals=(KeeperError,))


def _steps(job: AuditJob, progress: Progress) -> Iterator[Step]:
    return _preview(job, progress) if job.kind == AuditJobKind.PREVIEW else _verify(job, progress)


def _verify(job: AuditJob, progress: Progress) -> Iterator[Step]:
    extent = _EXTENTS[AuditJobKind(job.kind)]
    # How many events are newer than an anchor is known once they were read.
    total = StreamHead.objects.aggregate(all=Sum("sequence"))["all"] or 0 if extent is Extent.FULL else 0
    stats = ReportingStats(
        lambda events: progress("Verifying events, then what they are about", events, total)
    )
    verification = verify_log(actor=requester(job), extent=extent, tally=stats)
    yield (
        verification.is_sound,
        f"{stats.events:,} events in {stats.streams:,} log streams and {stats.manifests:,} lists verified, "
        f"compared with {stats.anchors:,} anchors outside the database: "
        + (
            "no problem found."
            if verification.is_sound
            else f"{len(verification.problems):,} problems found."
        ),
    )
    yield from (
        (False, f"{problem.kind}: {problem.object}: {problem.message}") for problem in verification.problems
    )
    for gap in verification.discontinuities:
        yield True, f"{gap.kind}: {gap.stream} #{gap.sequence}: {gap.message}"


def _preview(job: AuditJob, progress: Progress) -> Iterator[Step]:
    actor = requester(job)
    require(actor=actor, action=Action.TRAIL_VERIFY, environment=None)
    progress("Verifying the events that are old enough", 0, 0)
    try:
        planned = plan(before=timezone.now() - timedelta(days=job.days))
    except NothingToPrune as nothing:
        yield True, f"Nothing would be removed: {nothing}."
        return
    signed_at = planned.checkpoint.statement.at
    yield True, f"{planned.removed:,} events from before {signed_at:%Y-%m-%d %H:%M} UTC would be removed."
    names = {stream: name for name, stream in audit_log_policy().named_streams(actor).items()}
    yield from ((True, _planned(each, names)) for each in planned.streams)


def _planned(stream: StreamPlan, names: Mapping[str, str]) -> str:
    every = stream.removed + stream.kept
    return (
        f"{names.get(stream.stream, stream.stream)}: {stream.removed:,} of {every:,} events, "
        f"from #{stream.after + 1:,} to #{stream.through.sequence:,}; {stream.kept:,} stay."
    )
