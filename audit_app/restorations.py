"""The seams in the trail, which verification tells of each time: restores, and anchors gone on without."""

from collections.abc import Iterator
from dataclasses import dataclass

from audit_app import streams
from audit_app.actions import Action
from audit_app.anchors import resumptions
from audit_app.canonical import parsed_details
from audit_app.models import AuditEvent


@dataclass(frozen=True, kw_only=True)
class Seam:
    """A place where the trail goes on from an older state, by the event that says so."""

    seam: str
    stream: str
    sequence: int
    message: str

    def __str__(self) -> str:
        return f"seam: event {self.stream} #{self.sequence}: {self.message}"


def seams() -> Iterator[Seam]:
    """Yield each restore and each resumption that the trail went through, oldest first of either."""
    yield from _restores()
    for resumed in resumptions():
        yield Seam(
            seam="resume",
            stream=streams.SYSTEM,
            sequence=resumed.sequence,
            message=f"signing went on without checkpoint {resumed.number}: {resumed.reason}",
        )


def _restores() -> Iterator[Seam]:
    events = AuditEvent.objects.filter(stream=streams.SYSTEM, action=Action.DEPLOYMENT_RESTORE)
    for event in events.order_by("sequence").iterator():
        told = parsed_details(event.details)
        anchor = told.get("anchor")
        named = f"checkpoint {anchor.get('number')}" if isinstance(anchor, dict) else "no checkpoint"
        since = f"made {told.get('made_at')}, which knew of {named}"
        yield Seam(
            seam="restore",
            stream=event.stream,
            sequence=event.sequence,
            message=f"restored at {event.at:%Y-%m-%d %H:%M} UTC from backup {event.object_uuid}, {since}; "
            "what happened between the two is not in this trail",
        )
