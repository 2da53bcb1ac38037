"""Finds policies and rotations for an actor: one that they may not see counts as missing."""

from datetime import datetime
from typing import NoReturn

from django.db.models import Exists, OuterRef, Q, QuerySet

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import record_integrity_violation, verified_rows
from environments_app.authorization.policy import Principal, allows, require, visible
from environments_app.errors import Forbidden, Invisible, Tampered
from environments_app.models import Environment
from secrets_app.models import Secret
from secrets_app.queries.lookup import require_authentic as require_authentic_secret
from secrets_app.queries.lookup import visible_secrets
from sync_app.domain.rotation_state import Step
from sync_app.errors import RotationConflict
from sync_app.models import Rotation, RotationPolicy


def visible_policies(actor: Principal) -> QuerySet[RotationPolicy]:
    """Return the living policies that an actor may see, without their sealed credentials."""
    # Asked of each row: a list of all that may be seen would be made even where nothing is rotated.
    seen = Secret.objects.filter(visible(actor, Action.ROTATION_VIEW), uuid=OuterRef("secret_id"))
    policies = RotationPolicy.objects.filter(Q(Exists(seen)), live=True)
    return policies.select_related("environment", "secret").defer("credentials")


def visible_due_secrets(actor: Principal, now: datetime) -> QuerySet[Secret]:
    """Return the visible secrets that are due, by an offboarding or by hand, and that no policy rotates."""
    policies = RotationPolicy.objects.filter(secret=OuterRef("uuid"), live=True)
    secrets = visible_secrets(actor).filter(~Exists(policies), rotation_due_at__lte=now)
    return secrets.order_by("rotation_due_at", "id")


def find_policy(*, actor: Principal, environment: Environment, id: int) -> RotationPolicy:
    """Return a living policy of an environment. Raises Invisible; a missing right is recorded."""
    policy = RotationPolicy.objects.select_related("secret").filter(environment=environment, pk=id, live=True)
    return _require_visible(actor, environment, policy.first())


def find_rotation(*, actor: Principal, environment: Environment, id: int) -> Rotation:
    """Return a rotation of an environment, also under a policy that was removed. Raises Invisible."""
    rows = Rotation.objects.select_related("policy__secret")
    rotation = rows.filter(policy__environment=environment, pk=id).first()
    policy = _require_visible(actor, environment, rotation.policy if rotation else None)
    if rotation is None:
        raise Invisible("There is no such rotation.")
    rotation.policy = policy
    return rotation


def policy_of(secret: Secret) -> RotationPolicy | None:
    """Return the active policy of a secret, with the stored secret, without an access check."""
    policies = RotationPolicy.objects.select_related("environment", "secret__environment")
    return policies.filter(secret=secret, live=True).first()


def find_orphaned_login(policy: RotationPolicy) -> Rotation | None:
    """Return the rotation of a policy that was given up and left a login valid, if there is one."""
    rows = Rotation.objects.filter(policy=policy, step=Step.ABANDONED).exclude(leaves="")
    return next(iter(verified_rows(rows.order_by("-pk")[:1])), None)


def require_policy_access(*, actor: Principal, action: Action, policy: RotationPolicy) -> None:
    """Ask for a right on a policy, which is one on its secret's name.

    Raises Forbidden, or Invisible for a policy that the actor may not see; the denial is recorded.
    """
    name = policy.secret.name
    try:
        require(
            actor=actor, action=action, environment=policy.environment, name=name, object=policy.audit_object
        )
    except Forbidden:
        if allows(actor, Action.ROTATION_VIEW, environment_id=policy.environment_id, name=name):
            raise
        raise Invisible("There is no such policy.") from None


def require_not_removed(policy: RotationPolicy) -> None:
    """Refuse a policy that was removed. Raises RotationConflict."""
    if not policy.live:
        raise RotationConflict("the policy was removed")


def require_authentic(policy: RotationPolicy) -> None:
    """Refuse a policy whose row, secret or environment was changed outside Keeper.

    Raises Tampered or TamperedSecret; the violation is recorded.
    """
    if not verified_rows([policy.environment]):
        raise Tampered("The environment's record was changed outside Keeper; nothing is rotated in it.")
    if not policy.is_authentic():
        report_tampering(policy, "the row was not written by Keeper")
    if policy.secret.environment_id != policy.environment_id:
        report_tampering(policy, "the secret lies in another environment")
    require_authentic_secret(policy.secret)


def report_tampering(policy: RotationPolicy, reason: str) -> NoReturn:
    """Report that a policy was changed outside Keeper. Raises Tampered."""
    record_integrity_violation(kind=policy.MAC_LABEL, uuid=policy.uuid, name=str(policy.pk), reason=reason)
    raise Tampered("The policy was changed outside Keeper. It is inactive and can only be removed.")


def _require_visible(
    actor: Principal, environment: Environment, policy: RotationPolicy | None
) -> RotationPolicy:
    if policy is None:
        raise Invisible("There is no such policy.")
    policy.environment = policy.secret.environment = environment
    require_policy_access(actor=actor, action=Action.ROTATION_VIEW, policy=policy)
    return policy
