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
    found = [_of_checkpoints(sink.name, states.get(sink.name), newest) for sink in checkpoint_sinks()]
    events = event_sinks()
    if events:
        heads = StreamHead.objects.aggregate(all=Sum("sequence"))["all"] or 0
        cursors = StreamCursor.objects.order_by().values_list("sink").annotate(taken=Sum("sequence"))
        taken = dict(cursors.values_list("sink", "taken"))
        found += [_of_events(sink.name, states.get(sink.name), heads, taken) for sink in events]
    return found


def _of_checkpoints(name: str, state: SinkState | None, newest: int) -> SinkLag:
    position = state.position if state else 0
    oldest = Checkpoint.objects.filter(number__gt=position).aggregate(at=Min("at"))["at"] if state else None
    return SinkLag(
        name=name, takes="checkpoints", state=state, behind=max(0, newest - position), since=oldest
    )


def _of_events(name: str, state: SinkState | None, heads: int, taken: dict[int, int]) -> SinkLag:
    done = taken.get(state.pk, 0) if state else 0
    return SinkLag(name=name, takes="events", state=state, behind=max(0, heads - done))
