"""What an operator decides about a rotation: retry, roll back, abandon, end the grace. Each is safe.

A decision raises the epoch, so that a worker that is at it writes nothing any more; what its last
act did outside is found out by the next step, which repeats it or asks by a login.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from django.db import IntegrityError

from audit_app.events.actions import Action
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from core.canonical_json import Json
from environments_app.approvals.gate import ApprovalGrant
from environments_app.authorization.policy import Principal
from environments_app.authorization.rows import lock_authentic
from secrets_app.services import version_stages
from secrets_app.services.read import version_of
from secrets_app.types.registry import SecretType, inspect
from sync_app.domain.rotation_state import (
    OperatorAction,
    Slot,
    Step,
    next_step_after_abandon,
    next_step_after_retry,
    step_left_by_abandon,
)
from sync_app.errors import LoginRefused, RotationConflict
from sync_app.jobs.leases import database_now
from sync_app.models import Rotation
from sync_app.rotation.execution.requests import enqueue_wakeup
from sync_app.rotation.lookup import require_not_removed, require_policy_access
from sync_app.rotation.policies.approval import require_decision_approval, state_of
from sync_app.rotation.policies.credentials import open_policy
from sync_app.rotators.base import LoginAnswer

_NOT_NOW: Final = "the rotation changed meanwhile: reload the page"


def retry(*, actor: Principal, rotation: Rotation) -> Rotation:
    """Let a rotation that stopped, or waits for its next attempt, be tried at once.

    Raises Forbidden or Invisible, Tampered, and RotationConflict if there is nothing to retry.
    """
    with _lock_for_decision(actor, rotation, OperatorAction.RETRY, Action.ROTATION_RESOLVE) as stored:
        stored.step = next_step_after_retry(Step(stored.step), remakes=not stored.keys_before)
    return stored


def abandon(*, actor: Principal, rotation: Rotation) -> Rotation:
    """Give a rotation up: what was set and never served is made useless, and what is served stays.

    One that stopped while it ended a login leaves that valid, until the next rotation or `retire`.
    Raises Forbidden or Invisible, Tampered, and RotationConflict once the new value is served.
    """
    with _lock_for_decision(actor, rotation, OperatorAction.ABANDON, Action.ROTATION_RESOLVE) as stored:
        stored.leaves = step_left_by_abandon(Step(stored.step))
        stored.step = next_step_after_abandon(Step(stored.step))
        secret = stored.policy.secret
        if stored.step == Step.ABANDONED:
            stored.slot, stored.finished_at = None, database_now()
            if secret.pending_number is not None and secret.pending_number == stored.to_number:
                version_stages.clear_pending(
                    actor=actor, secret=secret, details=_details(stored, OperatorAction.ABANDON)
                )
    return stored


def roll_back(*, actor: Principal, rotation: Rotation) -> Rotation:
    """Serve the value before again, if it still logs in; the new one is retired after another grace.

    Raises Forbidden or Invisible, Tampered, LoginRefused if the value before does not log in (nothing
    was changed then), KeyUnavailable, BackendError, and RotationConflict if it is too late.
    """
    require_policy_access(actor=actor, action=Action.ROTATION_RESOLVE, policy=rotation.policy)
    _require_allowed(rotation, OperatorAction.ROLL_BACK)
    policy = rotation.policy
    approval = require_decision_approval(actor, rotation, OperatorAction.ROLL_BACK, Action.ROTATION_RESOLVE)
    old = version_of(policy.secret, rotation.from_number or 0)
    opened = open_policy(
        actor=actor, policy=policy, versions=[old], details=_details(rotation, OperatorAction.ROLL_BACK)
    )
    value = opened.values[old.number]
    if opened.rotator.supports_probe:
        probed = opened.rotator.probe(value)
        if probed.answer is not LoginAnswer.ACCEPTED:
            raise LoginRefused(f"the previous value cannot log in ({probed.why}): the current value stays")
    facts = inspect(SecretType(policy.secret.secret_type), value)
    epoch = rotation.epoch
    with _lock_for_decision(
        actor, rotation, OperatorAction.ROLL_BACK, Action.ROTATION_RESOLVE, approval
    ) as stored:
        secret = stored.policy.secret
        served = (secret.current_number, secret.previous_number)
        if stored.epoch != epoch or served != (stored.to_number, stored.from_number):
            raise RotationConflict(_NOT_NOW)
        stored.step, stored.reverted, stored.cut = Step.GRACE, True, False
        stored.grace_until = database_now() + timedelta(seconds=stored.policy.grace_seconds)
        version_stages.restore_previous(
            actor=actor, secret=secret, facts=facts, details=_details(stored, OperatorAction.ROLL_BACK)
        )
    return stored


def end_grace(*, actor: Principal, rotation: Rotation) -> Rotation:
    """End the grace period now: the previous value is retired, even if it is still used.

    Raises Forbidden or Invisible, Tampered, and RotationConflict if there is no grace to end.
    """
    require_policy_access(actor=actor, action=Action.ROTATION_CUT, policy=rotation.policy)
    _require_allowed(rotation, OperatorAction.CUT_GRACE)
    approval = require_decision_approval(actor, rotation, OperatorAction.CUT_GRACE, Action.ROTATION_CUT)
    with _lock_for_decision(
        actor, rotation, OperatorAction.CUT_GRACE, Action.ROTATION_CUT, approval
    ) as stored:
        stored.cut = True
    return stored


def retire(*, actor: Principal, rotation: Rotation) -> Rotation:
    """End the login that a rotation left behind when it was given up, by its own step once more.

    Raises Forbidden or Invisible, Tampered, and RotationConflict if there is none, the policy was
    removed, or another rotation is at work, which ends it first.
    """
    with _lock_for_decision(actor, rotation, OperatorAction.RETIRE, Action.ROTATION_RESOLVE) as stored:
        require_not_removed(stored.policy)
        if Rotation.objects.filter(policy=stored.policy, slot=Slot.WORKING).exists():
            raise RotationConflict("another rotation is in progress and ends that login")
        if stored.policy.secret.current_number != stored.serving_number:
            raise RotationConflict("another version is current now: rotate to end the idle login")
        stored.step, stored.leaves = stored.leaves, ""
        stored.slot, stored.finished_at = Slot.WORKING, None
    return stored


# What pages and API call by the name of the act.
DECISIONS: Final[Mapping[OperatorAction, Callable[..., Rotation]]] = {
    OperatorAction.RETRY: retry,
    OperatorAction.ROLL_BACK: roll_back,
    OperatorAction.ABANDON: abandon,
    OperatorAction.CUT_GRACE: end_grace,
    OperatorAction.RETIRE: retire,
}


@contextmanager
def _lock_for_decision(
    actor: Principal,
    rotation: Rotation,
    act: OperatorAction,
    action: Action,
    approval: ApprovalGrant | None = None,
) -> Iterator[Rotation]:
    """Yield the rotation as it is stored, locked; store what the block changes, with its event."""
    require_policy_access(actor=actor, action=action, policy=rotation.policy)
    with lock_authentic(rotation) as stored:
        _require_allowed(stored, act)
        policy = stored.policy
        approved = (
            approval.consume(policy.environment, actor=actor, state=state_of(policy)) if approval else {}
        )
        before = stored.step
        yield stored
        stored.release_for_retry()
        try:
            stored.save()
        except IntegrityError as error:
            # Another one of its policy has begun since the block looked.
            raise RotationConflict(_NOT_NOW) from error
        record(
            actor=actor,
            action=action,
            **stream_and_object(stored.policy),
            details={**_details(stored, act), "from": before, **approved},
        )
        if not stored.has_ended:
            enqueue_wakeup(stored)


def _require_allowed(rotation: Rotation, act: OperatorAction) -> None:
    if act not in rotation.allowed_actions:
        raise RotationConflict(f"the rotation is at {rotation.step}, where this action is not possible")


def _details(rotation: Rotation, act: OperatorAction) -> Mapping[str, Json]:
    return {"rotation": str(rotation.uuid), "act": act, "step": rotation.step}
