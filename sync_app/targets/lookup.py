"""Finds targets for an actor, and secrets at their targets for an overview of an environment.

A target that the actor may not see gets the answer of a missing one. An overview takes a constant number of
statements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import record_integrity_violation, verified_rows
from environments_app.authorization.policy import Principal, allows, require, visible
from environments_app.errors import Forbidden, Invisible, Tampered
from environments_app.models import Environment
from secrets_app.models import Secret
from secrets_app.queries.lookup import visible_secrets
from sync_app.domain.delivery_state import DeliveryState, ShownState, shown_state
from sync_app.errors import TargetConflict
from sync_app.models import Plan, PlanItem, SyncEntry, Target
from sync_app.state.local_state import is_in_scope, is_tagged_for


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


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One secret at one target; no state if the target's scope leaves the secret out."""

    target: Target
    state: str
    entry: SyncEntry | None
    shown: ShownState

    @property
    def reason(self) -> str:
        """Why it has the state: of the last look, or because Keeper's value is newer than that."""
        return self.shown.word or (str(self.entry.reason) if self.entry is not None else "")


@dataclass(frozen=True, kw_only=True)
class SecretRow:
    """One secret with its state at each target, in the order of the targets."""

    secret: Secret
    deliveries: Sequence[Delivery]

    @property
    def covered(self) -> list[Delivery]:
        """The targets whose scope covers the secret, or that still hold it."""
        return [each for each in self.deliveries if each.state]


def overview_targets(actor: Principal, environment: Environment) -> list[Target]:
    """Return the targets of an environment that an actor may see, by name."""
    return list(visible_targets(actor).filter(environment=environment).order_by("name"))


def overview_secrets(
    actor: Principal, environment: Environment, targets: Sequence[Target], *, state: str = "", text: str = ""
) -> QuerySet[Secret]:
    """Return the secrets that an actor may see, by name; those in a state at one of the targets, if given."""
    found = visible_secrets(actor).filter(environment=environment)
    if text:
        found = found.filter(name__contains=text)
    if state:
        found = found.filter(_is_in_state(state, targets))
    return found


def _is_in_state(state: str, targets: Sequence[Target]) -> Q:
    """Return the condition that `shown_state` names this state for a target of the secret."""
    entries = SyncEntry.objects.filter(
        target__in=[target.pk for target in targets], secret_uuid=OuterRef("uuid")
    )
    stored, in_sync = entries.filter(state=state), entries.filter(state=DeliveryState.IN_SYNC)
    is_late = Q(base_number__lt=OuterRef("current_number"))
    if state == DeliveryState.IN_SYNC:
        return Q(Exists(in_sync.exclude(is_late)))
    if state == DeliveryState.PENDING:
        return Q(Exists(stored)) | Q(Exists(in_sync.filter(is_late)))
    return Q(Exists(stored))


def overview_rows(secrets: Sequence[Secret], targets: Sequence[Target]) -> list[SecretRow]:
    """Return the states of some secrets at some targets: one statement."""
    entries = {
        (entry.target_id, entry.secret_uuid): entry
        for entry in SyncEntry.objects.filter(
            target__in=[target.pk for target in targets], secret_uuid__in=[secret.uuid for secret in secrets]
        )
    }
    return [
        SecretRow(secret=secret, deliveries=[_delivery(secret, target, entries) for target in targets])
        for secret in secrets
    ]


def _delivery(
    secret: Secret, target: Target, entries: Mapping[tuple[int, UUID | None], SyncEntry]
) -> Delivery:
    entry = entries.get((target.pk, secret.uuid))
    if entry is not None:
        shown = shown_state(str(entry.state), delivered=entry.base_number, current=secret.current_number)
        return Delivery(target=target, state=str(shown.state), entry=entry, shown=shown)
    covered = is_in_scope(str(target.scope), secret.name) and is_tagged_for(target, secret.tags)
    # A new secret has no entry before the first look at the target.
    state = DeliveryState.PENDING if covered else ""
    return Delivery(target=target, state=state, entry=None, shown=ShownState(state))
