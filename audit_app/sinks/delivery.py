"""Delivery of the audit log to its sinks: in order, retried until it is there, and how far each is behind.

Each sink is leased by one worker at a time, and what it has taken is noted after it took it: after a crash
in between, it gets the same once more, and nothing is left out. An installation that is not the active one
delivers nothing: its sinks are those of the original.

Events leave as JSON lines, from a cursor in each stream. A cursor is a stream's sequence, since events of
one stream are committed in that order. Ids are not: the higher of two may be committed first, and a cursor
over them would leave the other one out.

How far the sinks are behind takes a handful of statements.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import F, Min, Q, Sum
from django.utils import timezone

from audit_app.crypto.checkpoint_statement import SignedCheckpoint
from audit_app.crypto.hash_chain import Link
from audit_app.errors import BadCheckpoint, SinkDown
from audit_app.integrity.active_installation import is_active
from audit_app.interfaces import audit_log_alerts
from audit_app.models import Checkpoint, SinkState, StreamCursor, StreamHead
from audit_app.recording import event_store
from audit_app.sinks.registry import Sink, checkpoint_sinks, event_sinks
from core.canonical_json import canonical_json, parsed_details
from core.db.concurrency import claim, unleased

_LINES_PER_BATCH: Final = 500


def begin_events(state: SinkState) -> None:
    """Let a new sink begin with what happens from now on; `keeper audit-export` gives what was before."""
    heads = StreamHead.objects.values_list("stream", "sequence")
    StreamCursor.objects.bulk_create(
        [StreamCursor(sink=state, stream=stream, sequence=sequence) for stream, sequence in heads],
        ignore_conflicts=True,
    )


def batches(state: SinkState) -> Iterator[tuple[str, int, list[bytes]]]:
    """Yield (stream, sequence of the first, lines) of what a sink has not taken, each stream in order."""
    cursors = dict(state.cursors.values_list("stream", "sequence"))
    for stream, head in StreamHead.objects.order_by("stream").values_list("stream", "sequence"):
        last = cursors.get(stream, 0)
        while last < head and (
            links := event_store.links(stream, after=last, until=head, limit=_LINES_PER_BATCH)
        ):
            # After a removal of events the remaining ones are still sent.
            yield stream, links[0].fields.sequence, [_line(link) for link in links]
            last = links[-1].fields.sequence


def taken(state: SinkState, stream: str, sequence: int) -> None:
    """Note that a sink has taken a stream up to a sequence."""
    StreamCursor.objects.update_or_create(sink=state, stream=stream, defaults={"sequence": sequence})


def lag(states: Iterable[SinkState]) -> int:
    """Return how many events the last of these sinks has still to take."""
    heads = StreamHead.objects.aggregate(total=Sum(F("sequence")))["total"] or 0
    taken_by = [state.cursors.aggregate(total=Sum("sequence"))["total"] or 0 for state in states]
    return max((heads - position for position in taken_by), default=0)


def _line(link: Link) -> bytes:
    fields = link.fields
    return (
        canonical_json(
            {
                "id": fields.uuid,
                "stream": fields.stream,
                "sequence": fields.sequence,
                "at": fields.at,
                "actor": {"kind": fields.actor_kind, "id": fields.actor_uuid, "name": fields.actor_name},
                "action": fields.action,
                "object": {"kind": fields.object_kind, "id": fields.object_uuid, "name": fields.object_name},
                "outcome": fields.outcome,
                "address": fields.address,
                "request_id": fields.request_id,
                "details": parsed_details(fields.details),
                "manifest": fields.manifest_digest,
                "hash": link.hash.hex(),
            }
        )
        + b"\n"
    )


# A delivery whose worker died is taken over after this; one that goes well ends well before.
_LEASE: Final = timedelta(minutes=2)
_WORK: Final = timedelta(minutes=1)
_FIRST_WAIT: Final = timedelta(seconds=15)
_LONGEST_WAIT: Final = timedelta(minutes=5)
# The page Health shows one failure; a second one in a row sends a message.
_FAILURES_BEFORE_ALERT: Final = 2
_MAX_TEXT: Final = 500
_Begin = Callable[[SinkState], None]
_Send = Callable[[Sink, SinkState, datetime], int]
_log = logging.getLogger(__name__)


def deliver_checkpoints(*, at_once: bool = False) -> int:
    """Give each sink the checkpoints that it has not taken, and return how many went out.

    A sink that is down is left for later, and holds up no other; `at_once` tries it nonetheless.
    Any number of workers may call it. Call it outside a transaction: it goes over the network.
    """
    return _deliver_to(checkpoint_sinks(), _begin_checkpoints, _send_checkpoints, at_once)


def deliver_events(*, at_once: bool = False) -> int:
    """Give each sink of KEEPER_EVENT_SINKS the committed events that it has not taken; as above."""
    return _deliver_to(event_sinks(), begin_events, _send_events, at_once)


def _deliver_to(sinks: Sequence[Sink], begin: _Begin, send: _Send, at_once: bool) -> int:  # noqa: FBT001 - passed on
    if not sinks or not is_active():
        return 0
    return sum(_deliver(sink, begin, send, at_once) for sink in sinks)


def _deliver(sink: Sink, begin: _Begin, send: _Send, at_once: bool) -> int:  # noqa: FBT001 - passed on
    noted, is_new = SinkState.objects.get_or_create(name=sink.name)
    if is_new:
        begin(noted)
    now = timezone.now()
    due = Q() if at_once else Q(due_at=None) | Q(due_at__lte=now)
    free = unleased(now, _LEASE, column="leased_until") & due
    state = claim(SinkState.objects.all(), noted.pk, free, leased_until=now + _LEASE)
    if state is None:
        # Another worker has it, or it is not due.
        return 0
    try:
        sent = send(sink, state, timezone.now() + _WORK)
    except (SinkDown, BadCheckpoint) as error:
        _failed(state, str(error))
        return 0
    SinkState.objects.filter(pk=state.pk).update(
        leased_until=None, due_at=None, succeeded_at=timezone.now(), failures=0, error=""
    )
    if state.failures >= _FAILURES_BEFORE_ALERT:
        audit_log_alerts().over(
            kind=state.name, subject=f"the audit sink {state.name} takes what it is given again"
        )
    return sent


def _begin_checkpoints(state: SinkState) -> None:
    """Let a new sink begin with the newest: it states all heads."""
    newest = Checkpoint.objects.order_by("number").values_list("number", flat=True).last()
    SinkState.objects.filter(pk=state.pk, position=0).update(position=max((newest or 0) - 1, 0))


def _send_checkpoints(sink: Sink, state: SinkState, until: datetime) -> int:
    sent = 0
    for row in Checkpoint.objects.filter(number__gt=state.position).order_by("number").iterator(100):
        checkpoint = SignedCheckpoint.stored(row.statement, bytes(row.signature))
        sink.write([checkpoint.line()], number=checkpoint.number)
        SinkState.objects.filter(pk=state.pk).update(position=checkpoint.number)
        sent += 1
        if timezone.now() > until:
            break
    return sent


def _send_events(sink: Sink, state: SinkState, until: datetime) -> int:
    sent = 0
    for stream, sequence, lines in batches(state):
        sink.write(lines, number=sequence)
        taken(state, stream, sequence + len(lines) - 1)
        sent += len(lines)
        if timezone.now() > until:
            break
    return sent


def _failed(state: SinkState, text: str) -> None:
    failures = state.failures + 1
    wait = min(_FIRST_WAIT * 2 ** min(failures - 1, 10), _LONGEST_WAIT)
    SinkState.objects.filter(pk=state.pk).update(
        leased_until=None, due_at=timezone.now() + wait, failures=failures, error=text[:_MAX_TEXT]
    )
    _log.warning("an audit sink did not take what it was given: %s", text)
    if failures >= _FAILURES_BEFORE_ALERT:
        audit_log_alerts().raised(
            kind=state.name,
            subject=f"the audit sink {state.name} takes nothing",
            lines=[text, "Nothing is lost: it is given all of it as soon as it takes it."],
        )


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
    lags = []
    for sink in checkpoint_sinks():
        state = states.get(sink.name)
        position = state.position if state else 0
        lacking = Checkpoint.objects.filter(number__gt=position)
        oldest = lacking.aggregate(at=Min("at"))["at"] if state else None
        behind = max(0, newest - position)
        lags.append(SinkLag(name=sink.name, takes="checkpoints", state=state, behind=behind, since=oldest))
    events = event_sinks()
    if events:
        heads = StreamHead.objects.aggregate(all=Sum("sequence"))["all"] or 0
        cursors = StreamCursor.objects.order_by().values_list("sink").annotate(taken=Sum("sequence"))
        positions = dict(cursors.values_list("sink", "taken"))
        for sink in events:
            state = states.get(sink.name)
            behind = max(0, heads - (positions.get(state.pk, 0) if state else 0))
            lags.append(SinkLag(name=sink.name, takes="events", state=state, behind=behind))
    return lags
