"""Delivers what leaves Keeper to its sinks, in order, tried again until it is there.

Each sink is leased by one worker at a time, and what it has taken is noted after it took it: after
a crash in between, it is given the same once more, and nothing is left out. An installation that is
not the active one delivers nothing: its sinks are those of the original.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q
from django.utils import timezone

from audit_app.crypto.checkpoint_statement import SignedCheckpoint
from audit_app.errors import BadCheckpoint, SinkDown
from audit_app.integrity.active_installation import is_active
from audit_app.interfaces.alerts import trail_alerts
from audit_app.models import Checkpoint, SinkState
from audit_app.sinks import event_stream
from audit_app.sinks.registry import Sink, checkpoint_sinks, event_sinks
from core.db.concurrency import claim, unleased

# A delivery whose worker died is taken over after this; one that goes well ends well before.
_LEASE: Final = timedelta(minutes=2)
_WORK: Final = timedelta(minutes=1)
_FIRST_WAIT: Final = timedelta(seconds=15)
_LONGEST_WAIT: Final = timedelta(minutes=5)
# The page Health shows one failure; a second one in a row sends a message.
_TOLD_AFTER: Final = 2
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
    return _deliver_to(event_sinks(), event_stream.begin_events, _send_events, at_once)


def _deliver_to(sinks: Sequence[Sink], begin: _Begin, send: _Send, at_once: bool) -> int:  # noqa: FBT001 - passed on
    if not sinks or not is_active():
        return 0
    return sum(_deliver(sink, begin, send, at_once) for sink in sinks)


def _deliver(sink: Sink, begin: _Begin, send: _Send, at_once: bool) -> int:  # noqa: FBT001 - passed on
    noted, made = SinkState.objects.get_or_create(name=sink.name)
    if made:
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
    if state.failures >= _TOLD_AFTER:
        trail_alerts().over(
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
        made = SignedCheckpoint.stored(row.statement, bytes(row.signature))
        sink.write([made.line()], number=made.number)
        SinkState.objects.filter(pk=state.pk).update(position=made.number)
        sent += 1
        if timezone.now() > until:
            break
    return sent


def _send_events(sink: Sink, state: SinkState, until: datetime) -> int:
    sent = 0
    for stream, sequence, lines in event_stream.batches(state):
        sink.write(lines, number=sequence)
        event_stream.taken(state, stream, sequence + len(lines) - 1)
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
    if failures >= _TOLD_AFTER:
        trail_alerts().raised(
            kind=state.name,
            subject=f"the audit sink {state.name} takes nothing",
            lines=[text, "Nothing is lost: it is given all of it as soon as it takes it."],
        )
