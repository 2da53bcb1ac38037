"""Delivery of the audit log to its sinks: in order, retried until it is there, and how far each is behind.

Each sink is leased by one worker at a time, and what it has taken is noted after it took it: after a crash
in between, it gets the same once more, and nothing is left out. An installation that is not the active one
delivers nothing: its sinks are those of the original.

Events leave as lines, from a cursor in each stream. A cursor is a stream's sequence, since events of
one stream are committed in that order. Ids are not: the higher of two may be committed first, and a cursor
over them would leave the other one out. A sink that refuses an event stops there, until it
takes it or an administrator skips it.

How far the sinks are behind takes a handful of statements.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import F, Min, Q, Sum
from django.utils import timezone

from audit_app.crypto.checkpoint_statement import SignedCheckpoint
from audit_app.crypto.hash_chain import Link
from audit_app.errors import BadCheckpoint, LineRefused, SinkDown
from audit_app.integrity.active_installation import is_active
from audit_app.interfaces import audit_log_alerts
from audit_app.models import Checkpoint, SinkState, StreamCursor, StreamHead
from audit_app.recording import event_store
from audit_app.sinks.registry import Sink, checkpoint_sinks, event_sinks
from core.db.concurrency import claim, unleased
from core.errors import BadDetails
from core.network.limits import limited


def begin_events(state: SinkState) -> None:
    """Let a new sink begin with what happens from now on; `keeper audit-export` gives what was before."""
    heads = StreamHead.objects.values_list("stream", "sequence")
    StreamCursor.objects.bulk_create(
        [StreamCursor(sink=state, stream=stream, sequence=sequence) for stream, sequence in heads],
        ignore_conflicts=True,
    )


def taken(state: SinkState, stream: str, sequence: int) -> None:
    """Note that a sink has taken a stream up to a sequence; never less than what is noted."""
    cursor = state.cursors.filter(stream=stream)
    if not cursor.filter(sequence__lt=sequence).update(sequence=sequence):
        StreamCursor.objects.bulk_create(
            [StreamCursor(sink=state, stream=stream, sequence=sequence)], ignore_conflicts=True
        )


def lag(states: Iterable[SinkState]) -> int:
    """Return how many events the last of these sinks has still to take."""
    heads = StreamHead.objects.aggregate(total=Sum(F("sequence")))["total"] or 0
    taken_by = [state.cursors.aggregate(total=Sum("sequence"))["total"] or 0 for state in states]
    return max((heads - position for position in taken_by), default=0)


# A delivery whose worker died is taken over after this; one that goes well ends well before.
_LEASE: Final = timedelta(minutes=2)
_WORK: Final = timedelta(minutes=1)
# One batch, with all that a sink asks and answers about it: less than the lease has left after the work.
_WRITE_SECONDS: Final = 45.0
# Somebody waits for the page.
_AT_ONCE_SECONDS: Final = 20.0
_FIRST_WAIT: Final = timedelta(seconds=15)
_LONGEST_WAIT: Final = timedelta(minutes=5)
# The page Health shows one failure; a second one in a row sends a message.
_FAILURES_BEFORE_ALERT: Final = 2
_MAX_TEXT: Final = 500
_Begin = Callable[[SinkState], None]
# Returns how many went out, and whether that is all.
_Send = Callable[[Sink, SinkState, datetime], tuple[int, bool]]
NOT_REFUSED: Final[dict[str, Any]] = {"refused_stream": "", "refused_sequence": None}
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


def deliver_at_once(name: str) -> None:
    """Give one sink of events what it lacks, now; how that went is in its SinkState."""
    sinks = [sink for sink in event_sinks() if sink.name == name]
    for sink in sinks:
        sink.gathers = 0
    with limited(_AT_ONCE_SECONDS):
        _deliver_to(sinks, begin_events, _send_events, at_once=True)


def _deliver_to(sinks: Sequence[Sink], begin: _Begin, send: _Send, at_once: bool) -> int:  # noqa: FBT001 - passed on
    if not sinks or not is_active():
        return 0
    failing = set(
        SinkState.objects.filter(name__in=[sink.name for sink in sinks], failures__gt=0).values_list(
            "name", flat=True
        )
    )
    # Those that fail come last: one that hangs delays none that works.
    ordered, sent = sorted(sinks, key=lambda sink: sink.name in failing), list[int]()

    def serve(sink: Sink) -> None:
        sent.append(_deliver(sink, begin, send, at_once))

    with ExitStack() as all_of_them:
        # An error that nobody foresaw ends the run once the others are served.
        for sink in reversed(ordered):
            all_of_them.callback(serve, sink)
    return sum(sent)


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
    if not sink.exists():
        # It was removed after the sinks were read. While it is leased it cannot be.
        state.delete()
        return 0
    try:
        sent, is_all = send(sink, state, timezone.now() + _WORK)
    except (SinkDown, BadCheckpoint) as error:
        _failed(state, str(error))
        return 0
    except Exception as error:
        _failed(state, f"{sink.name}: {type(error).__name__}, which is a fault of Keeper: see its log")
        raise
    SinkState.objects.filter(pk=state.pk).update(
        leased_until=None, due_at=None, succeeded_at=timezone.now(), failures=0, error="", **NOT_REFUSED
    )
    alerts = audit_log_alerts()
    if state.failures >= _FAILURES_BEFORE_ALERT or state.refused_stream:
        alerts.over(kind=state.name, subject=f"the audit sink {state.name} takes what it is given again")
    if send is not _send_events or at_once:
        return sent
    if not is_all:
        alerts.raised(
            kind=f"{state.name} late",
            subject=f"the audit sink {state.name} takes less than is recorded",
            lines=["It did not catch up within a minute. Nothing is lost: the rest waits in the audit log."],
        )
    elif sent:
        alerts.over(kind=f"{state.name} late", subject=f"the audit sink {state.name} has caught up")
    return sent


def _begin_checkpoints(state: SinkState) -> None:
    """Let a new sink begin with the newest: it states all heads."""
    newest = Checkpoint.objects.order_by("number").values_list("number", flat=True).last()
    SinkState.objects.filter(pk=state.pk, position=0).update(position=max((newest or 0) - 1, 0))


def _send_checkpoints(sink: Sink, state: SinkState, until: datetime) -> tuple[int, bool]:
    sent = 0
    for row in Checkpoint.objects.filter(number__gt=state.position).order_by("number").iterator(100):
        if timezone.now() > until:
            return sent, False
        checkpoint = SignedCheckpoint.stored(row.statement, bytes(row.signature))
        sink.write([checkpoint.line()], number=checkpoint.number)
        SinkState.objects.filter(pk=state.pk).update(position=checkpoint.number)
        sent += 1
    return sent, True


def _send_events(sink: Sink, state: SinkState, until: datetime) -> tuple[int, bool]:
    cursors, sent = dict(state.cursors.values_list("stream", "sequence")), 0
    for stream, head in StreamHead.objects.order_by("stream").values_list("stream", "sequence"):
        last, most = cursors.get(stream, 0), sink.most_lines
        while last < head:
            if timezone.now() > until:
                return sent, False
            # After a removal of events the remaining ones are still sent.
            links, lines = event_store.links(stream, after=last, until=head, limit=most), list[bytes]()
            if not links:
                break
            try:
                lines = _fitting(sink, links)
                if _may_grow(sink, links, lines):
                    break
                with limited(_WRITE_SECONDS):
                    count = sink.write(lines, number=links[0].fields.sequence, stream=stream)
            except LineRefused as error:
                if len(lines) <= 1:
                    raise _refused(sink, state, links[0], str(error)) from error
                # Half as many, until the one is found that is refused.
                most = len(lines) // 2
                continue
            last = links[count - 1].fields.sequence
            taken(state, stream, last)
            sent += count
    return sent, True


def _fitting(sink: Sink, links: Sequence[Link]) -> list[bytes]:
    """Return the lines of one batch: one at least, and no more than the sink takes.

    Raises LineRefused if the first has no line: its row was edited.
    """
    lines, size = list[bytes](), 0
    for link in links:
        try:
            line = sink.line(link)
        except BadDetails as error:
            if lines:
                break
            raise LineRefused("its details have no JSON form") from error
        size += len(line)
        if lines and size > sink.most_bytes:
            break
        lines.append(line)
    return lines


def _may_grow(sink: Sink, links: Sequence[Link], lines: Sequence[bytes]) -> bool:
    """Return whether a sink of large batches waits for more events to go with these."""
    is_full = len(lines) < len(links) or len(lines) == sink.most_lines
    if is_full or not sink.gathers:
        return False
    oldest = datetime.fromisoformat(links[0].fields.at)
    return oldest > timezone.now() - timedelta(seconds=sink.gathers)


def _refused(sink: Sink, state: SinkState, link: Link, reason: str) -> SinkDown:
    """Note which event a sink refuses, and return what stops it there."""
    stream, sequence = link.fields.stream, link.fields.sequence
    SinkState.objects.filter(pk=state.pk).update(refused_stream=stream, refused_sequence=sequence)
    text = f"{sink.name} refuses event {stream} #{sequence} ({reason}). Events wait behind it; none is lost."
    audit_log_alerts().raised(
        kind=state.name,
        subject=f"the audit sink {sink.name} refuses an event",
        lines=[text, "Look at the receiver, or skip the event: that is recorded."],
    )
    return SinkDown(text)


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
