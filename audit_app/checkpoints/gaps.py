"""The discontinuities of the audit log, listed by each verification: restores, accepted rollbacks, cuts."""

from collections.abc import Iterator
from dataclasses import dataclass

from audit_app.checkpoints.anchors import resumptions
from audit_app.crypto.canonical_json import parsed_details
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from audit_app.verification.prune_records import PruneRecord, newest_prune_records, prune_records_of


@dataclass(frozen=True, kw_only=True)
class Discontinuity:
    """A discontinuity, from its event: the audit log continues from an older state, or without old events."""

    kind: str
    stream: str
    sequence: int
    message: str

    def __str__(self) -> str:
        return f"discontinuity: event {self.stream} #{self.sequence}: {self.message}"


def discontinuities() -> Iterator[Discontinuity]:
    """Yield each restore, resumption and cut that the audit log went through, oldest first of each."""
    yield from _restores()
    for resumed in resumptions():
        yield Discontinuity(
            kind="resume",
            stream=streams.SYSTEM,
            sequence=resumed.sequence,
            message=f"signing went on without checkpoint {resumed.number}: {resumed.reason}",
        )
    for stream in sorted(newest_prune_records()):
        yield from _cuts(stream)


def _cuts(stream: str) -> Iterator[Discontinuity]:
    """Yield a discontinuity a bundle: a cut is made in several steps, so that writers wait for none."""
    parts: dict[str, list[PruneRecord]] = {}
    for cut in prune_records_of(stream):
        parts.setdefault(cut.sha256, []).append(cut)
    for steps in parts.values():
        first, last = steps[0], steps[-1]
        removed, kept = sum(step.removed for step in steps), sum(step.kept for step in steps)
        yield Discontinuity(
            kind="cut",
            stream=stream,
            sequence=last.sequence,
            message=f"{removed:,} of events {first.after + 1:,} to {last.through:,} were removed at "
            f"{last.at[:16]} UTC by {last.actor} ({last.operator}), {kept:,} kept; all are in {last.bundle} "
            f"(SHA-256 {last.sha256}), as checkpoint {last.checkpoint} signed them",
        )


def _restores() -> Iterator[Discontinuity]:
    events = AuditEvent.objects.filter(stream=streams.SYSTEM, action=Action.DEPLOYMENT_RESTORE)
    for event in events.order_by("sequence").iterator():
        details = parsed_details(event.details)
        anchor = details.get("anchor")
        named = f"checkpoint {anchor.get('number')}" if isinstance(anchor, dict) else "no checkpoint"
        since = f"made {details.get('made_at')}, which knew of {named}"
        yield Discontinuity(
            kind="restore",
            stream=event.stream,
            sequence=event.sequence,
            message=f"restored at {event.at:%Y-%m-%d %H:%M} UTC from backup {event.object_uuid}, {since}; "
            "what happened between the two is not in this trail",
        )
