"""Ends rotations that were changed outside Keeper, with their policy, and does nothing on another system."""

from collections.abc import Iterable
from typing import Final

from audit_app.crypto.canonical_json import Json
from audit_app.events.actions import Action
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from environments_app.authorization.policy import Principal
from secrets_app.models import Secret
from secrets_app.services import version_stages
from sync_app.domain.rotation_state import OperatorAction, Step
from sync_app.errors import RotationInProgress
from sync_app.jobs.leases import database_now
from sync_app.models import Rotation, RotationPolicy

NOT_ENDED: Final = (
    "a rotation has not ended: wait for the end of its grace, or abandon or roll back what can be"
)


def end_tampered(*, actor: Principal, policy: RotationPolicy) -> None:
    """End the open rotations of a policy that is being removed, if Keeper wrote none of them as stored.

    Call it in the transaction that holds the policy. How far such a rotation came is not to be believed:
    the event names the versions whose logins may be valid, besides the one that is served. A pending
    version is dropped, or no other policy could have one. Raises RotationInProgress.
    """
    found = policy.rotations.filter(slot__isnull=False)
    ids = [rotation.pk for rotation in _are_all_tampered(found)]
    # Locked no sooner than this: a worker holds its rotation and then asks for the policy.
    for rotation in _are_all_tampered(policy.rotations.select_for_update().filter(pk__in=ids)):
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


def _are_all_tampered(rotations: Iterable[Rotation]) -> list[Rotation]:
    found = list(rotations)
    if any(rotation.is_authentic() for rotation in found):
        raise RotationInProgress(NOT_ENDED)
    return found
