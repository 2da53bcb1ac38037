"""Jobs on the audit log: verifications, and previews of what retention would remove. None changes it."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from django.db.models import Sum
from django.utils import timezone

from audit_app.errors import NothingToPrune
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.interfaces.access_policy import trail_policy
from audit_app.interfaces.nudges import nudge
from audit_app.models import StreamHead, deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from audit_app.retention.prune import MINIMUM_DAYS, StreamPlan, plan
from audit_app.verification.stream_walker import VerificationStats
from core.errors import KeeperError
from environments_app.audit_verification import Extent, verify_trail
from environments_app.authorization.policy import Principal, require
from environments_app.errors import Conflict, InvalidField
from environments_app.models import AuditJob, AuditJobKind
from environments_app.operator_jobs import runner
from environments_app.operator_jobs.runner import Progress, Step, requester

RUN: Final = "environments_app.tasks.run_audit_jobs"
MOST_DAYS: Final = 36_500
_EXTENTS: Final = {
    AuditJobKind.VERIFY_NEW: Extent.SINCE_CHECKPOINT,
    AuditJobKind.VERIFY_ALL: Extent.FULL,
}
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
    runner.run_jobs(AuditJob.objects.all(), _steps, lease=_LEASE, refusals=(KeeperError,))


def _steps(job: AuditJob, progress: Progress) -> Iterator[Step]:
    return _preview(job, progress) if job.kind == AuditJobKind.PREVIEW else _verify(job, progress)


def _verify(job: AuditJob, progress: Progress) -> Iterator[Step]:
    extent = _EXTENTS[AuditJobKind(job.kind)]
    # How many events are newer than an anchor is known once they were read.
    total = StreamHead.objects.aggregate(all=Sum("sequence"))["all"] or 0 if extent is Extent.FULL else 0
    stats = _Reporting(lambda events: progress("Verifying events, then what they are about", events, total))
    found = verify_trail(actor=requester(job), extent=extent, tally=stats)
    yield (
        found.is_sound,
        f"{stats.events:,} events in {stats.streams:,} log streams and {stats.manifests:,} lists verified, "
        f"compared with {stats.anchors:,} anchors outside the database: "
        + ("no problem found." if found.is_sound else f"{len(found.problems):,} problems found."),
    )
    yield from ((False, f"{each.kind}: {each.object}: {each.message}") for each in found.problems)
    for each in found.discontinuities:
        yield True, f"{each.kind}: {each.stream} #{each.sequence}: {each.message}"


def _preview(job: AuditJob, progress: Progress) -> Iterator[Step]:
    actor = requester(job)
    require(actor=actor, action=Action.TRAIL_VERIFY, environment=None)
    progress("Verifying the events that are old enough", 0, 0)
    try:
        found = plan(before=timezone.now() - timedelta(days=job.days))
    except NothingToPrune as nothing:
        yield True, f"Nothing would be removed: {nothing}."
        return
    signed_at = found.checkpoint.statement.at
    yield True, f"{found.removed:,} events from before {signed_at:%Y-%m-%d %H:%M} UTC would be removed."
    names = {stream: name for name, stream in trail_policy().named_streams(actor).items()}
    yield from ((True, _planned(each, names)) for each in found.streams)


def _planned(each: StreamPlan, names: Mapping[str, str]) -> str:
    every = each.removed + each.kept
    return (
        f"{names.get(each.stream, each.stream)}: {each.removed:,} of {every:,} events, "
        f"from #{each.after + 1:,} to #{each.through.sequence:,}; {each.kept:,} stay."
    )


class _Reporting(VerificationStats):
    """Stats that report how many events were verified whenever that changes."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        super().__init__()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "events" and value:
            self._report(value)
