"""The principal of a rotation: its requester with their present rights, or Keeper for the policy."""

from audit_app.events.actors import ActorKind
from audit_app.integrity.row_authentication import verified_rows
from environments_app.authorization.policy import Grant, Principal
from environments_app.authorization.principals import load_principal, system_principal
from environments_app.errors import Tampered
from environments_app.models import Role
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.lookup import require_authentic


def policy_principal(policy: RotationPolicy, *, role: Role = Role.EDITOR) -> Principal:
    """Return Keeper itself, allowed to edit the policy's secret; the policy's own row is the grant.

    Raises Tampered or TamperedSecret.
    """
    require_authentic(policy)
    environment = policy.environment
    grant = Grant(
        environment_id=environment.pk,
        environment_uuid=environment.uuid,
        environment_name=environment.name,
        role=role,
        prefix=policy.secret.name,
    )
    return system_principal(grants=(grant,))


def load_rotation_principal(rotation: Rotation) -> Principal:
    """Return who a rotation works for, with what they may do by now. Raises Tampered or TamperedSecret."""
    if not verified_rows([rotation]):
        raise Tampered(
            "The rotation was changed outside Keeper. It is inactive and ends only when its "
            "policy is removed."
        )
    require_authentic(rotation.policy)
    if rotation.actor.kind is not ActorKind.SYSTEM:
        return load_principal(rotation.actor)
    return policy_principal(rotation.policy)
