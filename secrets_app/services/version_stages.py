"""The version stages that a rotation moves: pending beside current, then current, then previous.

For the use cases of rotation, which have asked the policy. Each is one transaction with its event, or a
part of the caller's; sealing comes before. They take the revision that was read: StaleVersion means that a
concurrent change won, and nothing was written.
"""

from collections.abc import Mapping

from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import Actor, system
from core.canonical_json import Json
from environments_app.approvals.gate import system_approval
from secrets_app.errors import StaleVersion
from secrets_app.models import Secret, SecretVersion
from secrets_app.rows.store import update_stored
from secrets_app.services.read import require_readable_version
from secrets_app.types.registry import SecretType, inspect
from secrets_app.values.metadata import apply_facts
from secrets_app.values.versions import NewValue, next_number, sealed_version


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
    )


def stage(*, actor: Actor, secret: Secret, version: SecretVersion, details: Mapping[str, Json]) -> None:
    """Store a drafted version as the pending one: it is not served as current."""
    if secret.pending_number is not None:
        raise StaleVersion("The secret has a pending value already; nothing was written.")
    secret.pending_number = version.number
    _store(actor, secret, Action.SECRET_STAGE, details, version=version, pending=True)


def promote(*, actor: Actor, secret: Secret, facts: Mapping[str, Json], details: Mapping[str, Json]) -> None:
    """Make the pending version the current one, and the current one the previous."""
    if secret.pending_number is None:
        raise StaleVersion("The secret has no pending value; nothing was written.")
    number, secret.pending_number = secret.pending_number, None
    _serve(actor, secret, number, facts, details)


def restore_previous(
    *, actor: Actor, secret: Secret, facts: Mapping[str, Json], details: Mapping[str, Json]
) -> None:
    """Let the current and the previous version change places."""
    if secret.previous_number is None:
        raise StaleVersion("The secret has no previous value; nothing was written.")
    _serve(actor, secret, secret.previous_number, facts, details)


def clear_pending(*, actor: Actor, secret: Secret, details: Mapping[str, Json]) -> None:
    """Let the secret have no pending version; what was pending stays in its history."""
    secret.pending_number = None
    _store(actor, secret, Action.SECRET_UNSTAGE, details)


def drop_previous(*, actor: Actor, secret: Secret, details: Mapping[str, Json]) -> None:
    """Let the secret offer no previous version any more: what it held is no longer accepted."""
    secret.previous_number = None
    _store(actor, secret, Action.SECRET_UNSTAGE, details)


def _serve(
    actor: Actor, secret: Secret, number: int, facts: Mapping[str, Json], details: Mapping[str, Json]
) -> None:
    require_readable_version(secret, number)
    secret.previous_number, secret.current_number = secret.current_number, number
    secret.rotated_at = timezone.now()
    moved = apply_facts(secret, dict(facts))
    event_details = {**details, **moved, "number": number, "before": secret.previous_number}
    _store(actor, secret, Action.SECRET_ROTATE, event_details)


def _store(
    actor: Actor,
    secret: Secret,
    action: Action,
    details: Mapping[str, Json],
    *,
    version: SecretVersion | None = None,
    pending: bool = False,
) -> None:
    # The policy of the rotation, or its beginning by hand, was approved.
    clearance = system_approval(system(), secret.environment)
    update_stored(
        actor=actor,
        secret=secret,
        action=action,
        details=details,
        version=version,
        pending=pending,
        clearance=clearance,
    )
