"""The status of a policy, which pages, panel and alerts share."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from django.db.models import Max, Q

from sync_app.domain.rotation_state import Slot, Step
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
