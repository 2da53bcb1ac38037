"""Finds targets for an actor. A target that the actor may not see gets the answer of a missing one."""

from typing import NoReturn

from django.db.models import QuerySet

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import record_integrity_violation, verified_rows
from environments_app.authorization.policy import Principal, allows, require, visible
from environments_app.errors import Forbidden, Invisible, Tampered
from environments_app.models import Environment
from sync_app.errors import TargetConflict
from sync_app.models import Plan, PlanItem, Target


def visible_targets(actor: Principal) -> QuerySet[Target]:
    """Return the living targets that an actor may see, without their sealed credentials."""
    targets = Target.objects.filter(visible(actor, Action.TARGET_VIEW, "scope"), live=True)
    return targets.select_related("environment").defer("credentials")


def find_target(*, actor: Principal, environment: Environment, id: int) -> Target:
    """Return a living target of an environment, also one that was changed outside Keeper.

    Raises Invisible if there is none that the actor may see; a missing right is recorded.
    """
    target = Target.objects.filter(environment=environment, pk=id, live=True).first()
    if target is None:
        raise Invisible("There is no such target.")
    target.environment = environment
    require_target_access(actor=actor, action=Action.TARGET_VIEW, target=target)
    return target


def find_plan(*, actor: Principal, environment: Environment, id: int) -> Plan:
    """Return a plan of an environment's target, also of one that was removed. Raises Invisible."""
    plan = Plan.objects.select_related("target").filter(target__environment=environment, pk=id).first()
    if plan is None:
        raise Invisible("There is no such plan.")
    plan.target.environment = environment
    require_target_access(actor=actor, action=Action.TARGET_VIEW, target=plan.target)
    return plan


def find_item(*, plan: Plan, id: int) -> PlanItem:
    """Return an item of a plan that the actor was found to see. Raises Invisible."""
    item = PlanItem.objects.filter(plan=plan, pk=id).first()
    if item is None:
        raise Invisible("There is no such item.")
    item.plan = plan
    return item


def require_target_access(*, actor: Principal, action: Action, target: Target) -> None:
    """Ask for a right on a target, which is one on the names in its scope.

    Raises Forbidden, or Invisible for a target that the actor may not see; the denial is recorded.
    """
    environment = target.environment
    try:
        require(
            actor=actor,
            action=action,
            environment=environment,
            name=target.scope,
            object=target.audit_object,
        )
    except Forbidden:
        if allows(actor, Action.TARGET_VIEW, environment_id=environment.pk, name=target.scope):
            raise
        raise Invisible("There is no such target.") from None


def require_not_removed(target: Target) -> None:
    """Refuse a target that was removed. Raises TargetConflict."""
    if not target.live:
        raise TargetConflict("the target was removed")


def require_authentic(target: Target) -> None:
    """Refuse a target whose row, or whose environment's, was changed outside Keeper.

    Raises Tampered; the violation is recorded.
    """
    require_authentic_environment(target.environment)
    if not target.is_authentic():
        report_tampering(target, "the row was not written by Keeper")


def require_authentic_environment(environment: Environment) -> None:
    """Refuse an environment whose row was changed outside Keeper. Raises Tampered; it is recorded."""
    if not verified_rows([environment]):
        raise Tampered("The environment's record was changed outside Keeper; nothing goes out of it.")


def report_tampering(target: Target, reason: str) -> NoReturn:
    """Report that a target was changed outside Keeper. Raises Tampered."""
    record_integrity_violation(kind=target.MAC_LABEL, uuid=target.uuid, name=str(target.pk), reason=reason)
    raise Tampered("The target was changed outside Keeper. It is inactive and can only be removed.")
