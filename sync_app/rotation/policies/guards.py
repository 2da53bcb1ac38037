"""Guards of a value that a rotation policy answers for, and the end of rotations changed outside Keeper.

People, imports and pulls may not write such a value. A value with which the policy's rotator logs in is
allowed (for a manually changed password); any other would be served as current and strand who reads it.
While a rotation has not ended, no value passes: its two values are the ones that are proven.

A rotation that was changed outside Keeper ends with its policy, and nothing is done on another system.
"""

from collections.abc import Callable
from typing import Final

from django.db.models import Exists, F, QuerySet
from django.db.models.expressions import Expression

from audit_app.events.actions import Action
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from core.canonical_json import Json
from environments_app.authorization.policy import Principal
from secrets_app.errors import ManagedValue, StaleVersion
from secrets_app.models import Secret
from secrets_app.services import version_stages
from sync_app.domain.rotation_state import OperatorAction, Step
from sync_app.errors import BackendError, RotationInProgress
from sync_app.jobs.leases import database_now
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.lookup import policy_of
from sync_app.rotation.policies.credentials import open_policy
from sync_app.rotators.base import LoginAnswer

_KEPT = "A rotation policy answers for this secret: remove the policy first; nothing was changed."
_WORKING = "A rotation of this secret has not ended: roll it back, abandon it, or wait; nothing was written."
_OWN = "Only its rotation policy writes this secret's value: rotate it; nothing was written."
_CHANGED = "The secret's rotation policy was changed meanwhile. Try again; nothing was written."


class _Guard:
    """Implements `secrets_app.interfaces.WriteGuard`."""

    def answers_for(self, secret: Expression | F) -> Exists:
        return Exists(RotationPolicy.objects.filter(secret_id=secret, live=True))

    def __call__(self, *, actor: Principal, secret: Secret, value: str | None) -> Callable[[], None]:
        """Let a value pass that logs in, of a secret under a policy."""
        policy = policy_of(secret)
        if policy is None:
            return lambda: _refuse_new_policy(secret)
        if value is None:
            raise ManagedValue(_KEPT)
        _refuse_working(policy)
        _require_login(actor, policy, value)
        return lambda: _refuse_changed(secret, policy)


guard_write: Final = _Guard()


def _require_login(actor: Principal, policy: RotationPolicy, value: str) -> None:
    """Raise ManagedValue unless the policy's rotator sees a value log in."""
    try:
        rotator = open_policy(
            actor=actor, policy=policy, details={"purpose": "a value written by hand"}
        ).rotator
        if not rotator.supports_probe:
            raise ManagedValue(_OWN)
        # Whether it is a value of this policy at all.
        rotator.idle_login(value)
        probed = rotator.probe(value)
    except BackendError as error:
        raise ManagedValue(f"{_OWN} A value that logs in would be taken, but: {error}") from error
    if probed.answer is not LoginAnswer.ACCEPTED:
        raise ManagedValue(f"{_OWN} A value that logs in would be taken, but: {probed.why}")


def _refuse_working(policy: RotationPolicy) -> None:
    if Rotation.objects.filter(policy=policy, slot__isnull=False).exists():
        raise ManagedValue(_WORKING)


def _refuse_new_policy(secret: Secret) -> None:
    # The creation of a policy locks the secret's row, which the caller has claimed.
    if policy_of(secret):
        raise StaleVersion(_CHANGED)


def _refuse_changed(secret: Secret, policy: RotationPolicy) -> None:
    stored = RotationPolicy.objects.select_for_update().get(pk=policy.pk)
    if not stored.live:
        _refuse_new_policy(secret)
    elif bytes(stored.row_mac) != bytes(policy.row_mac):
        raise StaleVersion(_CHANGED)
    _refuse_working(policy)


NOT_ENDED: Final = (
    "a rotation has not ended: wait for the end of its grace, or abandon or roll back what can be"
)


def end_tampered(*, actor: Principal, policy: RotationPolicy) -> None:
    """End the open rotations of a policy that is being removed, if Keeper wrote none of them as stored.

    Call it in the transaction that holds the policy. How far such a rotation came is not to be believed:
    the event names the versions whose logins may be valid, besides the one that is served. A pending
    version is dropped, or no other policy could have one. Raises RotationInProgress.
    """
    ids = [rotation.pk for rotation in _require_all_tampered(policy.rotations.filter(slot__isnull=False))]
    # Locked no sooner than this: a worker holds its rotation and then asks for the policy.
    for rotation in _require_all_tampered(policy.rotations.select_for_update().filter(pk__in=ids)):
        secret = Secret.objects.select_related("environment").get(uuid=policy.secret_id)
        details: dict[str, Json] = {
            "rotation": str(rotation.uuid),
            "act": OperatorAction.ABANDON,
            "from": rotation.step,
            "step": Step.ABANDONED,
            "forged": True,
            "may_be_valid": [number for number in (secret.previous_number, secret.pending_number) if number],
        }
        rotation.release_for_retry()
        rotation.step, rotation.slot, rotation.leaves = Step.ABANDONED, None, ""
        rotation.finished_at = database_now()
        rotation.save()
        if secret.pending_number is not None and secret.is_authentic():
            version_stages.clear_pending(actor=actor, secret=secret, details=details)
        record(actor=actor, action=Action.ROTATION_RESOLVE, **stream_and_object(policy), details=details)


def _require_all_tampered(rotations: QuerySet[Rotation]) -> QuerySet[Rotation]:
    if any(rotation.is_authentic() for rotation in rotations):
        raise RotationInProgress(NOT_ENDED)
    return rotations
