"""Delivers stored checkpoints to the sinks: each in order, tried again until it is there."""

import logging
from datetime import timedelta
from typing import Final

from django.db.models import Q
from django.utils import timezone

from audit_app.checkpoint import SignedCheckpoint
from audit_app.errors import BadCheckpoint, SinkDown
from audit_app.models import Checkpoint, SinkState
from audit_app.sinks import Sink, checkpoint_sinks
from audit_app.trail_alerts import trail_alerts

# A delivery whose worker died is taken over after this.
_LEASE: Final = timedelta(minutes=2)
_FIRST_WAIT: Final = timedelta(seconds=15)
_LONGEST_WAIT: Final = timedelta(minutes=5)
_BATCH: Final = 100
# One failure is told by the health page; a second one in a row by a message.
_TOLD_AFTER: Final = 2
_MAX_TEXT: Final = 500
_log = logging.getLogger(__name__)


def deliver_checkpoints(*, at_once: bool = False) -> int:
    """Give each sink the checkpoints that it has not taken, and return how many went out.

    A sink that is down is left for later, and holds up no other; `at_once` tries it nonetheless.
    Any number of workers may call it. Call it outside a transaction: it goes over the network.
    """
    return sum(_deliver(sink, at_once=at_once) for sink in checkpoint_sinks())


def _deliver(sink: Sink, *, at_once: bool) -> int:
    state = _claimed(sink, at_once=at_once)
    if state is None:
        return 0
    sent, position = 0, state.position
    try:
        for row in Checkpoint.objects.filter(number__gt=position).order_by("number")[:_BATCH]:
            made = SignedCheckpoint.stored(row.statement, bytes(row.signature))
            sink.write([made.line()], number=made.number)
            sent, position = sent + 1, made.number
    except (SinkDown, BadCheckpoint) as error:
        _failed(state, position, str(error))
    else:
        _succeeded(state, position)
    return sent


def _claimed(sink: Sink, *, at_once: bool) -> SinkState | None:
    """Lease a sink for this worker, or return None: another has it, or it is not due."""
    state, made = SinkState.objects.get_or_create(name=sink.name)
    now = timezone.now()
    if made:
        # A new sink begins with the newest: it states all heads.
        newest = Checkpoint.objects.order_by("number").values_list("number", flat=True).last()
        SinkState.objects.filter(pk=state.pk, position=0).update(position=max((newest or 0) - 1, 0))
    free = Q(leased_until=None) | Q(leased_until__lte=now)
    due = Q() if at_once else Q(due_at=None) | Q(due_at__lte=now)
    claimed = SinkState.objects.filter(free, due, pk=state.pk).update(leased_until=now + _LEASE)
    return SinkState.objects.get(pk=state.pk) if claimed else None


def _succeeded(state: SinkState, position: int) -> None:
    SinkState.objects.filter(pk=state.pk).update(
        position=position,
        leased_until=None,
        due_at=None,
        succeeded_at=timezone.now(),
        failures=0,
        error="",
    )
    if state.failures >= _TOLD_AFTER:
        trail_alerts().over(kind=state.name, subject=f"the audit sink {state.name} takes checkpoints again")


def _failed(state: SinkState, position: int, text: str) -> None:
    failures = state.failures + 1
    wait = min(_FIRST_WAIT * 2 ** min(failures - 1, 10), _LONGEST_WAIT)
    SinkState.objects.filter(pk=state.pk).update(
        position=position,
        leased_until=None,
        due_at=timezone.now() + wait,
        failures=failures,
        error=text[:_MAX_TEXT],
    )
    _log.warning("an audit sink did not take a checkpoint: %s", text)
    if failures >= _TOLD_AFTER:
        trail_alerts().raised(
            kind=state.name,
            subject=f"the audit sink {state.name} takes no checkpoints",
            lines=[text, "Nothing is lost: they are delivered as soon as it takes them."],
        )
