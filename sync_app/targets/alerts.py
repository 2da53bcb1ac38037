"""Raises alerts about targets: what a run found that someone has to look at, and when it is over."""

import hashlib
from typing import Final

from django.db import transaction
from django.db.models import BigIntegerField, Count, Q
from django.urls import reverse

from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from core.canonical_json import Json
from core.db.prepared import Argument, PreparedQuery
from environments_app.notifications.service import MAX_LINES, raise_alert, resolve_alert
from sync_app.domain.delivery_state import PASSES_UNTIL_ALERT, WAITING, DeliveryState
from sync_app.jobs.queue import is_paused
from sync_app.models import Run, SyncEntry, Target
from sync_app.models.run import WRITING, RunState

RUN_FAILED: Final = "sync.run_failed"
# Values are synced, but a label is not: the run's notice names it.
NOTICED: Final = "sync.noticed"
# Of each state what one secret does, what several do, and how the sentence continues.
_WORDS: Final = {
    DeliveryState.CONFLICT: (
        "needs",
        "need",
        "a decision: changed on both sides, or nobody can tell which side is newer",
    ),
    DeliveryState.DRIFTED: ("differs", "differ", "from Keeper"),
    DeliveryState.MISSING: ("is", "are", "gone from the target"),
    DeliveryState.OWNERSHIP_LOST: ("is", "are", "no longer provably Keeper's, and not updated: adopt again"),
    DeliveryState.REFUSED: ("was", "were", "refused"),
    DeliveryState.FAILED: ("could", "could", "not be synced"),
    DeliveryState.PENDING: ("was", "were", f"not delivered by {PASSES_UNTIL_ALERT} runs in a row"),
    DeliveryState.UNKNOWN: ("was", "were", "written, and the target does not show it"),
}
# What a state means an alert for: what only waits is alerted after some passes.
_OVERDUE: Final = ~Q(state__in=sorted(WAITING)) | Q(undelivered__gte=PASSES_UNTIL_ALERT)
# After so many attempts, about a minute, an alert is raised although the run still retries.
_ATTEMPTS: Final = 5
# One kind of alert for each state that someone has to look at.
KINDS: Final = {state: f"sync.{state}" for state in _WORDS}


_COUNTS: Final = PreparedQuery(
    lambda: (
        SyncEntry.objects.filter(_OVERDUE, target_id=Argument(0, BigIntegerField()), state__in=list(_WORDS))
        .order_by()
        .values_list("state")
        .annotate(Count("id"))
    )
)


def update_after_run(run: Run) -> None:
    """Raise and close alerts after a worker's turn on a run.

    Call it outside the run's own transaction; a repeated call sends nothing twice.
    """
    target = run.target
    # A run that was put back so often must not wait for its last attempt to raise an alert.
    if run.state == RunState.FAILED or (
        run.state == RunState.QUEUED and run.attempts >= _ATTEMPTS and not is_paused(run.target)
    ):
        _raise_alert(target, kind=RUN_FAILED, what="the sync failed", lines=[run.error], count=1)
    if run.active:
        return
    counts: dict[str, int] = dict(_COUNTS.all(target.pk))
    for state in _WORDS:
        if counts.get(state):
            _raise_state_alert(target, state, counts[state])
    # A run that failed proves of nothing that it is over.
    if run.state == RunState.DONE:
        if run.error:
            what = "synced, with something left to mend"
            _raise_alert(target, kind=NOTICED, what=what, lines=[run.error], count=1)
        over = [NOTICED] if run.kind in WRITING and not run.error else []
        _close_alerts(
            target, [RUN_FAILED, *over, *(KINDS[state] for state in _WORDS if not counts.get(state))]
        )


def close_after_removal(target: Target) -> None:
    """Close a target's alerts, in the transaction that removes it."""
    _close_alerts(target, [RUN_FAILED, NOTICED, *KINDS.values()], what="removed", last=True)


def _raise_state_alert(target: Target, state: DeliveryState, count: int) -> None:
    entries = SyncEntry.objects.filter(_OVERDUE, target=target, state=state).order_by("name")
    first = entries.values_list("name", "reason")[:MAX_LINES]
    lines = [f"{name}: {reason}" if reason else name for name, reason in first]
    if count > MAX_LINES:
        lines.append(f"and {count - MAX_LINES} more")
    digest = hashlib.sha256()
    for name in entries.values_list("name", flat=True).iterator():
        digest.update(name.encode() + b"\n")
    one, several, rest = _WORDS[state]
    _raise_alert(
        target,
        kind=KINDS[state],
        what=f"{count} secret {one} {rest}" if count == 1 else f"{count} secrets {several} {rest}",
        lines=lines,
        count=count,
        signature=digest.hexdigest(),
    )


def _raise_alert(
    target: Target, *, kind: str, what: str, lines: list[str], count: int, signature: str = ""
) -> None:
    with transaction.atomic():
        if raise_alert(
            kind=kind,
            about=target.uuid,
            environment=target.environment,
            subject=f"{_title(target)}: {what}"[:200],
            lines=lines,
            link=reverse("target-detail", args=[target.pk]),
            signature=signature,
        ):
            _record(target, {"kind": kind, "count": count})


def _close_alerts(target: Target, kinds: list[str], *, what: str = "recovered", last: bool = False) -> None:
    with transaction.atomic():
        if resolve_alert(
            kinds=kinds,
            about=target.uuid,
            subject=f"{_title(target)}: {what}",
            lines=["What was reported earlier is over."],
            link=reverse("target-detail", args=[target.pk]),
            last=last,
        ):
            _record(target, {"kind": "recovered"})


def _title(target: Target) -> str:
    return f"{target.environment.name}, {target.name}"


def _record(target: Target, details: dict[str, Json]) -> None:
    record(actor=actors.system(), action=Action.TARGET_ALERT, **stream_and_object(target), details=details)
