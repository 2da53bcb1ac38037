"""How far each sink of the audit log is behind, in a handful of statements."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Min, Sum

from audit_app.models import Checkpoint, SinkState, StreamCursor, StreamHead
from audit_app.sinks.registry import checkpoint_sinks, event_sinks


@dataclass(frozen=True, kw_only=True)
class SinkLag:
    """A sink with what it lacks; `since` is when the oldest checkpoint that it lacks was signed.

    `state` is None before the first delivery.
    """

    name: str
    takes: str
    state: SinkState | None
    behind: int
    since: datetime | None = None


def sink_lags() -> list[SinkLag]:
    """Return every sink of the settings, those of checkpoints first."""
    states = {state.name: state for state in SinkState.objects.all()}
    newest = Checkpoint.objects.order_by("-number").values_list("number", flat=True).first() or 0
    found = []
    for sink in checkpoint_sinks():
        state = states.get(sink.name)
        position = state.position if state else 0
        lacking = Checkpoint.objects.filter(number__gt=position)
        oldest = lacking.aggregate(at=Min("at"))["at"] if state else None
        behind = max(0, newest - position)
        found.append(SinkLag(name=sink.name, takes="checkpoints", state=state, behind=behind, since=oldest))
    events = event_sinks()
    if events:
        heads = StreamHead.objects.aggregate(all=Sum("sequence"))["all"] or 0
        cursors = StreamCursor.objects.order_by().values_list("sink").annotate(taken=Sum("sequence"))
        taken = dict(cursors.values_list("sink", "taken"))
        for sink in events:
            state = states.get(sink.name)
            behind = max(0, heads - (taken.get(state.pk, 0) if state else 0))
            found.append(SinkLag(name=sink.name, takes="events", state=state, behind=behind))
    return found
