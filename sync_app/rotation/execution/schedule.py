"""Finds what is due: policies by their cadence, rotations that wait, and those whose worker died."""

from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from audit_app.events.actors import system
from audit_app.integrity.active_installation import is_active, restored_at
from audit_app.integrity.row_authentication import verified_rows
from core.db.concurrency import retry_collisions
from environments_app.errors import AccessError, Tampered
from secrets_app.errors import SecretError
from sync_app.domain.rotation_state import Slot
from sync_app.errors import SyncError
from sync_app.jobs.leases import database_now
from sync_app.models import Rotation, RotationPolicy
from sync_app.models.run import Trigger
from sync_app.rotation.execution.requests import expedite, request_rotation
from sync_app.rotation.execution.runner import start_waiting
from sync_app.rotation.execution.session import claimable
from sync_app.rotation.policies.credentials import policy_principal
from sync_app.rotation.policies.rules import cadence_of, publish_due, window_of

_AT_A_TIME: Final = 200
_SCHEDULED: Final = Q(interval_seconds__gt=0) | ~Q(cron="")
# Not by the secret's `live`: SQLite would start from all living secrets instead of the policies.
_AWAKE: Final = {"live": True, "suspended_at__isnull": True, "secret__deleted_at__isnull": True}


def queue_due() -> list[int]:
    """Queue a rotation for each policy that is due, and return the ids of all that can be worked on.

    None in an installation that is not the active one. Any number of processes may ask at once: a
    policy is claimed by a conditional UPDATE.
    """
    if not is_active():
        return []
    now = database_now()
    for policy in due_policies(now):
        _start(policy, now)
    behind = Rotation.objects.filter(
        slot=Slot.WAITING, policy__environment__deleted_at__isnull=True
    ).select_related("policy__environment", "policy__secret")
    for waiting in behind.defer("policy__credentials").order_by("pk")[:_AT_A_TIME]:
        if retry_collisions(partial(start_waiting, waiting.policy_id)) is None and waiting.emergency:
            _expedite(waiting)
    rotations = Rotation.objects.filter(claimable(now), policy__environment__deleted_at__isnull=True)
    if since := restored_at():
        # What was under way when the backup was made waits along with its policy.
        rotations = rotations.exclude(policy__suspended_at=since)
    return list(rotations.order_by("pk").values_list("pk", flat=True)[:_AT_A_TIME])


def due_policies(now: datetime) -> Iterable[RotationPolicy]:
    """Return the policies that are due; one without a time although it has a cadence is looked at too."""
    policies = RotationPolicy.objects.filter(
        _SCHEDULED, due_at__lte=now, environment__deleted_at__isnull=True, **_AWAKE
    )
    return policies.select_related("environment", "secret__environment").order_by("due_at")[:_AT_A_TIME]


def bring_forward(secrets: Collection[UUID]) -> set[UUID]:
    """Let the policies of secrets rotate as soon as their window allows it; return whose will.

    One without a cadence rotates by hand only, and is left to people.
    """
    now, brought, uuids = database_now(), set[UUID](), list(secrets)
    for start in range(0, len(uuids), _AT_A_TIME):
        batch = uuids[start : start + _AT_A_TIME]
        awake = RotationPolicy.objects.filter(_SCHEDULED, secret__uuid__in=batch, **_AWAKE)
        found = dict(awake.values_list("pk", "secret__uuid"))
        RotationPolicy.objects.filter(pk__in=found).update(due_at=now)
        brought.update(found.values())
    return brought


def correct_future_due_times() -> None:
    """Bring forward what is due later than one cadence from now: a clock was put back."""
    now = database_now()
    for policy in RotationPolicy.objects.filter(due_at__gt=now, **_AWAKE).defer("credentials").iterator():
        corrected = cadence_of(policy).correct_due_time(policy.due_at, now)
        if corrected != policy.due_at:
            RotationPolicy.objects.filter(pk=policy.pk, due_at=policy.due_at).update(due_at=corrected)
            policy.due_at = corrected
            publish_due(policy)


def _start(policy: RotationPolicy, now: datetime) -> None:
    """Queue a policy's rotation, if its window is open and no other process did."""
    window = window_of(policy)
    opening = window.next_opening(now) if window else now
    after = opening if opening > now else cadence_of(policy).next_after(now)
    if not retry_collisions(partial(_claim, policy, due_after=after, opens=opening <= now)):
        return
    # On the secret, which a worker locks before the policy.
    policy.due_at = after
    retry_collisions(partial(publish_due, policy))


def _claim(policy: RotationPolicy, *, due_after: datetime | None, opens: bool) -> bool:
    """Advance a policy's due time, queue its rotation if the window is open; return whether it was ours."""
    mine = RotationPolicy.objects.filter(pk=policy.pk, due_at=policy.due_at, **_AWAKE)
    with transaction.atomic():
        if not mine.update(due_at=due_after):
            return False
        # Both or neither: else a fault in between would skip a rotation, and nothing would miss it.
        if opens:
            # Suspended this very moment, or a row that Keeper did not write: that was reported.
            with suppress(SyncError, AccessError, SecretError):
                request_rotation(actor=policy_principal(policy), policy=policy, trigger=Trigger.SCHEDULE)
    return True


def _expedite(waiting: Rotation) -> None:
    """Expedite the rotation before an emergency: the process that requested it may have died before that."""
    if verified_rows([waiting]):
        try:
            expedite(actor=system(), policy=waiting.policy)
        except Tampered:
            return  # it was reported, and stops on its own
