"""Asks for rotations: by hand, by the schedule, in an emergency. One at work and one behind it a policy."""

from typing import Final

from django.db import IntegrityError, transaction

from audit_app.events.actions import Action
from audit_app.events.actors import Actor
from audit_app.integrity.row_authentication import verified_rows
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from core.workers import nudge
from environments_app.authorization.policy import Principal
from environments_app.authorization.rows import lock_authentic
from environments_app.errors import Tampered
from secrets_app.errors import RotationRefused
from secrets_app.models import Secret
from sync_app.domain.rotation_state import Slot, Step
from sync_app.errors import RotationConflict
from sync_app.models import Rotation, RotationPolicy
from sync_app.models.run import Trigger
from sync_app.rotation.lookup import policy_of, require_authentic, require_not_removed, require_policy_access
from sync_app.rotation.policies.approval import require_rotate_approval, state_of

ROTATE: Final = "sync_app.tasks.execute_rotation"
ROTATE_DUE: Final = "sync_app.tasks.rotate_due"
# Where something would still be waited for; what is being ended already leaves nothing to hasten.
_HASTENED: Final = frozenset({Step.PREPARE, Step.SET, Step.TEST, Step.PROMOTE, Step.GRACE})


def request_rotation(
    *,
    actor: Principal,
    policy: RotationPolicy,
    trigger: Trigger = Trigger.PERSON,
    reason: str = "",
    emergency: bool = False,
) -> Rotation:
    """Queue a rotation and return it; a repeated request returns the waiting one.

    While another is at work, its grace included, it waits. An emergency needs the right to cut a
    grace: what is at work leaves none (`expedite`), so that both logins get a new value, and it waits for no
    target and no window. Raises Forbidden or Invisible, Tampered, RotationConflict if the policy
    was removed or is suspended, and ApprovalNeeded.
    """
    require_policy_access(
        actor=actor, action=Action.ROTATION_CUT if emergency else Action.ROTATION_RUN, policy=policy
    )
    require_not_removed(policy)
    require_authentic(policy)
    approval = require_rotate_approval(actor, policy, emergency=emergency, reason=reason[:200])
    with lock_authentic(policy) as stored:
        require_not_removed(stored)
        approved = approval.consume(stored.environment, actor=actor, state=state_of(stored))
        if stored.suspended_at is not None:
            raise RotationConflict("the policy is suspended: resume it first")
        rotation = _lock_waiting(stored, emergency=emergency)
        if rotation is None:
            rotation = _queue(actor, stored, trigger, reason[:200], emergency=emergency)
        record(
            actor=actor,
            action=Action.ROTATION_RUN,
            **stream_and_object(policy),
            details={
                "rotation": str(rotation.uuid),
                "emergency": emergency,
                "reason": reason[:200],
                **approved,
            },
        )
        enqueue_wakeup(rotation)
    if emergency:
        expedite(actor=actor, policy=policy)
    return rotation


def request_for_secret(*, actor: Principal, secret: Secret) -> bool:
    """Ask the policy of a secret for a rotation; False if none rotates it (KEEPER_ROTATION_REQUESTER).

    Raises RotationRefused with the policy's reason, Forbidden or Invisible, and Tampered.
    """
    policy = policy_of(secret)
    if policy is None:
        return False
    try:
        request_rotation(actor=actor, policy=policy)
    except RotationConflict as error:
        raise RotationRefused(str(error)) from error
    return True


def enqueue_wakeup(rotation: Rotation) -> None:
    """Ask a worker to look once the transaction is committed; the schedule finds it all the same."""
    transaction.on_commit(lambda: nudge(ROTATE, rotation.pk), robust=True)


def _lock_waiting(policy: RotationPolicy, *, emergency: bool) -> Rotation | None:
    """Return the rotation that waits already, locked; an emergency makes it one."""
    waiting = Rotation.objects.select_for_update().filter(policy=policy, slot=Slot.WAITING).first()
    if waiting is None:
        return None
    waiting.policy = policy
    if not verified_rows([waiting]):
        raise Tampered("The queued rotation was changed outside Keeper. Remove the policy to end it.")
    if emergency and not waiting.emergency:
        waiting.emergency = True
        waiting.save(update_fields=["emergency"])
    return waiting


def expedite(*, actor: Actor, policy: RotationPolicy) -> None:
    """Let the rotation at work wait for nothing and leave no grace: an emergency waits behind it.

    Call it outside a transaction: a worker that serves a value holds its rotation and then asks for the
    policy. The schedule repeats it, so that a crash before it delays an emergency and does not lose it.
    Raises Tampered.
    """
    found = Rotation.objects.filter(policy=policy, slot=Slot.WORKING, cut=False).first()
    if found is None or found.step not in _HASTENED:
        return
    with lock_authentic(found) as working:
        if working.cut or working.step not in _HASTENED:
            return
        working.cut = True
        # A stopped one needs an operator; no worker is at it.
        if working.stopped_at is None or working.step == Step.GRACE:
            working.release_for_retry()
        working.save()
        record(
            actor=actor,
            action=Action.ROTATION_CUT,
            **stream_and_object(policy),
            details={"rotation": str(working.uuid), "why": "emergency"},
        )
        enqueue_wakeup(working)


def _queue(
    actor: Principal, policy: RotationPolicy, trigger: Trigger, reason: str, *, emergency: bool
) -> Rotation:
    busy = Rotation.objects.filter(policy=policy, slot=Slot.WORKING).exists()
    rotation = Rotation(
        policy=policy,
        step=Step.WAITING if busy else Step.PREPARE,
        slot=Slot.WAITING if busy else Slot.WORKING,
        trigger=trigger,
        emergency=emergency,
        reason=reason,
        actor_kind=actor.kind,
        actor_uuid=actor.uuid,
        actor_name=actor.name,
        request_id=actor.request_id,
    )
    try:
        with transaction.atomic():
            rotation.save(force_insert=True)
    except IntegrityError:
        # In the meantime an operator requested the end of an orphaned login: this rotation waits for that.
        rotation.step, rotation.slot = Step.WAITING, Slot.WAITING
        rotation.save(force_insert=True)
    return rotation
