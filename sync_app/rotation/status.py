"""The status of a rotation policy, which pages, panel and alerts share, and the alerts about it.

Alerts say what stopped or keeps failing, what is late, and when it is over.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Max, Q
from django.urls import reverse

from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from environments_app.notifications.service import raise_alert, resolve_alert, still_open
from sync_app.domain.rotation_state import Slot, Step
from sync_app.jobs.leases import database_now
from sync_app.models import Rotation, RotationPolicy

# How long after its due time an unstarted rotation is alerted.
LATE: Final = timedelta(hours=1)


class PolicyStatus(StrEnum):
    """What someone wants to know of a policy first."""

    STOPPED = "stopped"
    RUNNING = "rotating"
    GRACE = "grace"
    SUSPENDED = "suspended"
    OVERDUE = "overdue"
    DUE = "due"
    RESTING = "scheduled"
    BY_HAND = "by_hand"


def policy_status(policy: RotationPolicy, rotation: Rotation | None, now: datetime) -> PolicyStatus:
    """Return the status of a policy, given its rotation at work, if any."""
    if rotation is not None:
        if rotation.stopped_at is not None:
            return PolicyStatus.STOPPED
        return PolicyStatus.GRACE if rotation.step == Step.GRACE else PolicyStatus.RUNNING
    if policy.suspended_at is not None:
        return PolicyStatus.SUSPENDED
    if policy.due_at is None:
        return PolicyStatus.BY_HAND
    if policy.due_at <= now - LATE:
        return PolicyStatus.OVERDUE
    return PolicyStatus.DUE if policy.due_at <= now else PolicyStatus.RESTING


def status_condition(standing: str, now: datetime) -> Q:
    """Return the condition on policies with a status; each is a filter of lists."""
    working = Rotation.objects.filter(slot=Slot.WORKING)
    awake = Q(suspended_at__isnull=True)
    conditions = {
        "failed": Q(pk__in=working.filter(stopped_at__isnull=False).values("policy_id")),
        "running": Q(pk__in=working.filter(stopped_at__isnull=True).values("policy_id")),
        "due": awake & Q(due_at__lte=now),
        "overdue": awake & Q(due_at__lte=now - LATE),
    }
    return conditions[standing]


def working_rotations(policies: Collection[RotationPolicy]) -> Mapping[int, Rotation]:
    """Return the rotation at work of each policy that has one, with one statement."""
    rows = Rotation.objects.filter(policy__in=policies, slot=Slot.WORKING)
    return {rotation.policy_id: rotation for rotation in rows}


def last_ended(policies: Collection[RotationPolicy]) -> Mapping[int, Rotation]:
    """Return the last rotation of each policy that has ended, with one statement."""
    latest = Rotation.objects.filter(policy__in=policies, slot=None).values("policy_id")
    ids = latest.annotate(latest=Max("pk")).values_list("latest", flat=True).order_by()
    return {rotation.policy_id: rotation for rotation in Rotation.objects.filter(pk__in=ids)}


STOPPED: Final = "rotation.stopped"
OVERDUE: Final = "rotation.overdue"
WAITS: Final = "rotation.waits"
_LONG: Final = timedelta(days=1)
# After so many attempts, about a minute, an alert is raised although retries continue.
_ATTEMPTS: Final = 5


def update_after_work(rotation: Rotation) -> None:
    """Raise or close alerts after a worker's turn on a rotation; a repeated call sends nothing twice."""
    if rotation.stopped_at is not None:
        _raise_alert(rotation.policy, STOPPED, "the rotation stopped", rotation.problem)
    elif rotation.problem and rotation.attempts >= _ATTEMPTS:
        _raise_alert(rotation.policy, STOPPED, "the rotation keeps failing", rotation.problem)
    elif rotation.has_ended:
        _close_alerts(rotation.policy, [STOPPED, OVERDUE, WAITS], what="it rotates again")


def alert_overdue() -> None:
    """Alert to what should have begun or ended long ago: overdue policies, and waiting rotations.

    Alerts whose condition has ended without a successful rotation are closed. A stopped rotation is alerted
    once more, with the same text: its worker may have died before it did.
    """
    now = database_now()
    open_alerts = {kind: still_open(kind) for kind in (STOPPED, OVERDUE, WAITS)}
    late = RotationPolicy.objects.filter(
        due_at__lte=now - LATE,
        live=True,
        suspended_at__isnull=True,
        secret__live=True,
        environment__deleted_at__isnull=True,
    )
    for policy in late.select_related("environment", "secret").defer("credentials").iterator():
        _raise_alert(
            policy, OVERDUE, "the rotation is overdue", "it was due, and has not begun: is a worker running?"
        )
    waiting = Q(step__in=[Step.WAITING, Step.PREPARE], queued_at__lte=now - _LONG)
    waiting |= Q(step=Step.GRACE, grace_until__lte=now - _LONG)
    rotations = Rotation.objects.filter(
        waiting, slot__isnull=False, stopped_at__isnull=True, policy__environment__deleted_at__isnull=True
    )
    rows = rotations.select_related("policy__environment", "policy__secret")
    for rotation in rows.defer("policy__credentials").iterator():
        line = rotation.problem or f"it is at {rotation.step} since {rotation.queued_at:%Y-%m-%d %H:%M} UTC"
        _raise_alert(rotation.policy, WAITS, "the rotation waits", line)
    stopped = Rotation.objects.filter(slot=Slot.WORKING, stopped_at__isnull=False)
    for rotation in stopped.select_related("policy__environment", "policy__secret").defer(
        "policy__credentials"
    ):
        update_after_work(rotation)
    # A stopped one is not resolved by a retry, but once it passes its grace period.
    at_work = Rotation.objects.filter(slot=Slot.WORKING).exclude(
        step=Step.GRACE, stopped_at=None, attempts__lt=_ATTEMPTS
    )
    _close_resolved(STOPPED, open_alerts[STOPPED], still=at_work.values_list("policy__uuid", flat=True))
    _close_resolved(OVERDUE, open_alerts[OVERDUE], still=late.values_list("uuid", flat=True))
    _close_resolved(WAITS, open_alerts[WAITS], still=rotations.values_list("policy__uuid", flat=True))


def _close_resolved(kind: str, told: set[UUID], *, still: Iterable[UUID]) -> None:
    """Close the alerts of a kind that were open before, about policies that are not among `still`."""
    if not told:
        return
    over = RotationPolicy.objects.filter(uuid__in=told.difference(still))
    # Without the secret, which may have been purged: a join would leave such a policy out.
    for policy in over.select_related("environment").defer("credentials"):
        _close_alerts(policy, [kind], what="settled" if policy.live else "the policy was removed")


def _raise_alert(policy: RotationPolicy, kind: str, what: str, line: str) -> None:
    with transaction.atomic():
        if raise_alert(
            kind=kind,
            about=policy.uuid,
            environment=policy.environment,
            subject=f"{_title(policy)}: {what}"[:200],
            lines=[line],
            link=reverse("rotation-policy", args=[policy.pk]),
        ):
            _record(policy, kind)


def _close_alerts(policy: RotationPolicy, kinds: list[str], *, what: str) -> None:
    with transaction.atomic():
        if resolve_alert(
            kinds=kinds,
            about=policy.uuid,
            subject=f"{_title(policy)}: {what}"[:200],
            lines=["What was reported earlier is over."],
            link=reverse("rotation-policy", args=[policy.pk]),
            last=not policy.live,
        ):
            _record(policy, "recovered")


def _title(policy: RotationPolicy) -> str:
    return f"{policy.environment.name}, {policy.audit_object.name or 'a purged secret'}"


def _record(policy: RotationPolicy, kind: str) -> None:
    record(
        actor=actors.system(),
        action=Action.ROTATION_ALERT,
        **stream_and_object(policy),
        details={"kind": kind},
    )
