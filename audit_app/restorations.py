"""The seams that restores have left in the trail: verification tells of each, always."""

from collections.abc import Iterator

from audit_app import streams
from audit_app.actions import Action
from audit_app.canonical import parsed_details
from audit_app.models import AuditEvent


def restorations() -> Iterator[str]:
    """Yield a line for each restore that the trail went through, oldest first."""
    events = AuditEvent.objects.filter(stream=streams.SYSTEM, action=Action.DEPLOYMENT_RESTORE)
    for event in events.order_by("sequence").iterator():
        told = parsed_details(event.details)
        anchor = told.get("anchor")
        named = f"checkpoint {anchor.get('number')}" if isinstance(anchor, dict) else "no checkpoint"
        yield (
            f"seam: event {event.stream} #{event.sequence}: restored at {event.at:%Y-%m-%d %H:%M} UTC from "
            f"backup {event.object_uuid}, made {told.get('made_at')}, which knew of {named}; what happened "
            "between the two is not in this trail"
        )
