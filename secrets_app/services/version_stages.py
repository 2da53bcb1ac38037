"""The version stages that a rotation moves: pending beside current, then current, then previous.

For the use cases of rotation, which have asked the policy. Each is one transaction with its event, or a
part of the caller's; sealing comes before. They take the revision that was read: StaleVersion means that a
concurrent change won, and nothing was written.
"""

from collections.abc import Mapping

from django.utils import timezone

from audit_app.crypto.canonical_json import Json
from audit_app.events.actions import Action
from audit_app.events.actors import Actor, system
from environments_app.approvals.gate import ApprovalGrant, system_clearance
from secrets_app.errors import StaleVersion
from secrets_app.models import Secret, SecretVersion
from secrets_app.persistence.secret_store import update_stored
from secrets_app.secret_types.registry import SecretType, inspect
from secrets_app.values.expiry import apply_facts
from secrets_app.values.versions import NewValue, next_number, sealed_version, sealing_key


def prepare(*, actor: Actor, secret: Secret, value: str, comment: str) -> SecretVersion:
    """Return a value as the secret's next version, sealed and not stored. May call KMS.

    Raises InvalidInput if the secret's type does not take it.
    """
    inspect(SecretType(secret.secret_type), value)
    return sealed_version(
        actor=actor,
        secret=secret,
        number=next_number(secret),
        value=NewValue(text=value, comment=comment),
        data_key=sealing_key(secret),
    )


def stage(*, actor: Actor, secret: Secret, version: SecretVersion, details: Mapping[str, Json]) -> None:
    """Store a drafted version as the pending one: it is not served as current."""
    if secret.pending_number is not None:
        raise StaleVersion("The secret has a pending value already; nothing was written.")
    secret.pending_number = version.number
    update_stored(
        actor=actor,
        secret=secret,
        action=Action.SECRET_STAGE,
        details=details,
        version=version,
        pending=True,
        clearance=_approved(secret),
    )


def promote(*, actor: Actor, secret: Secret, facts: Mapping[str, Json], details: Mapping[str, Json]) -> None:
    """Make the pending version the current one, and the current one the previous."""
    if secret.pending_number is None:
        raise StaleVersion("The secret has no pending value; nothing was written.")
    moved = _serve(secret, secret.pending_number, facts)
    secret.pending_number = None
    _rotated(actor, secret, {**details, **moved})


def restore_previous(
    *, actor: Actor, secret: Secret, facts: Mapping[str, Json], details: Mapping[str, Json]
) -> None:
    """Let the current and the previous version change places."""
    if secret.previous_number is None:
        raise StaleVersion("The secret has no previous value; nothing was written.")
    moved = _serve(secret, secret.previous_number, facts)
    _rotated(actor, secret, {**details, **moved})


def clear_pending(*, actor: Actor, secret: Secret, details: Mapping[str, Json]) -> None:
    """Let the secret have no pending version; what was pending stays in its history."""
    secret.pending_number = None
    update_stored(
        actor=actor, secret=secret, action=Action.SECRET_UNSTAGE, details=details, clearance=_approved(secret)
    )


def drop_previous(*, actor: Actor, secret: Secret, details: Mapping[str, Json]) -> None:
    """Let the secret offer no previous version any more: what it held is no longer accepted."""
    secret.previous_number = None
    update_stored(
        actor=actor, secret=secret, action=Action.SECRET_UNSTAGE, details=details, clearance=_approved(secret)
    )


def _approved(secret: Secret) -> ApprovalGrant:
    """Return the clearance of a rotation: its policy, or its beginning by hand, was approved."""
    return system_clearance(system(), secret.environment)


def _serve(secret: Secret, number: int, facts: Mapping[str, Json]) -> dict[str, Json]:
    secret.previous_number, secret.current_number = secret.current_number, number
    secret.rotated_at = timezone.now()
    return apply_facts(secret, dict(facts))


def _rotated(actor: Actor, secret: Secret, details: Mapping[str, Json]) -> None:
    event_details = {**details, "number": secret.current_number, "before": secret.previous_number}
    _changed(actor, secret, Action.SECRET_ROTATE, event_details)


def _changed(actor: Actor, secret: Secret, action: Action, details: Mapping[str, Json]) -> None:
    update_stored(actor=actor, secret=secret, action=action, details=details, clearance=_approved(secret))
