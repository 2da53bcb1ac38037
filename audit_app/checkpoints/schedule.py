"""One anchoring pass of the audit log (sign, deliver), and its recent status."""

from datetime import timedelta
from typing import Final

from django.utils import timezone

from audit_app.checkpoints.signing import SIGNING, make_checkpoint
from audit_app.events.actions import Action
from audit_app.integrity.active_installation import is_active
from audit_app.models import AuditEvent, Checkpoint, SinkState
from audit_app.sinks.delivery import deliver_checkpoints, lag
from audit_app.sinks.registry import checkpoint_sinks, event_sinks

_SIGNING_LATE_AFTER: Final = timedelta(minutes=5)
_ROLLBACK_SHOWN_FOR: Final = timedelta(days=7)
_MOST_EVENTS_BEHIND: Final = 5_000


def sign_log() -> Checkpoint | None:
    """Make a checkpoint if one is due, without delivering it. Raises what `make_checkpoint` raises."""
    return make_checkpoint() if is_active() else None


def anchor_log(*, at_once: bool = False) -> Checkpoint | None:
    """Make a checkpoint if one is due, and deliver all that the sinks lack.

    What was signed before is delivered also where signing is refused now. An installation that is
    not the active one signs nothing: the sinks are those of the original. Raises what
    `make_checkpoint` raises.
    """
    if not is_active():
        return None
    try:
        return make_checkpoint(at_once=at_once)
    finally:
        deliver_checkpoints(at_once=at_once)


def problems() -> list[str]:
    """Return the problems of the anchoring, worst first, in public wording."""
    signing = SinkState.objects.filter(name=SIGNING).first()
    sentences = []
    if signing is not None and signing.error:
        sentences.append("the audit log is not signed: it is not what was signed before, or no sink answers")
    elif (
        signing is not None
        and signing.succeeded_at
        and signing.succeeded_at < timezone.now() - _SIGNING_LATE_AFTER
    ):
        sentences.append("the audit log was not signed lately")
    events = [sink.name for sink in event_sinks()]
    names = [*(sink.name for sink in checkpoint_sinks()), *events]
    if count := SinkState.objects.filter(name__in=names, failures__gt=0).count():
        sentences.append(f"{count} of the sinks of the audit log do not take what they are given")
    rollbacks = AuditEvent.objects.filter(
        action=Action.INTEGRITY_VIOLATION, object_kind="sink", at__gt=timezone.now() - _ROLLBACK_SHOWN_FOR
    )
    # Only its event names the sink: the destination is not public.
    if rollbacks.exists():
        sentences.append("a sink of the audit log was emptied or cut of late: it held less than it had taken")
    behind = lag(SinkState.objects.filter(name__in=events))
    if behind > _MOST_EVENTS_BEHIND:
        sentences.append(f"the sinks of events are {behind} events behind")
    return sentences
