"""Carries out approved acts of the sync: applying plans, settling conflicts, changing rules."""

from typing import Any, Final, TypeVar

from django.db.models import Model, QuerySet
from django.urls import reverse

from audit_app.events.actions import Action
from audit_app.integrity.row_state import state_digest
from environments_app.authorization.policy import Principal, allows
from environments_app.errors import ApprovalVoid
from environments_app.interfaces import ApprovalExecutor, ChangedNames, ExecutionResult
from environments_app.models import Approval
from secrets_app.errors import SecretError
from sync_app.applying import service as applying
from sync_app.domain.rotation_state import OperatorAction
from sync_app.errors import SyncError
from sync_app.migration import service as migrations
from sync_app.models import Migration, Plan, PlanItem, Rotation, RotationPolicy, Target
from sync_app.planning.service import request_confirmation
from sync_app.rotation.execution.operator_actions import DECISIONS
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies import service as policies
from sync_app.rotation.policies.approval import state_of
from sync_app.targets import service as targets
from sync_app.targets.approval import changing_items

# The number of names on the page of a request; the plan's own page lists them all.
_SHOWN: Final = 20
_OF_POLICIES: Final = frozenset(
    {Action.ROTATION_RUN, Action.ROTATION_CUT, Action.ROTATION_RESOLVE, Action.ROTATION_SUSPEND}
)
Row = TypeVar("Row", bound=Model)


def _stored(rows: QuerySet[Row], key: Any, **conditions: Any) -> Row:
    """Return the row that an approval is about. Raises ApprovalVoid if it is gone."""
    row = rows.filter(pk=key, **conditions).first()
    if row is None:
        raise ApprovalVoid("The plan no longer exists: create a new one.")
    return row


def _apply(actor: Principal, approval: Approval) -> ExecutionResult:
    plans = Plan.objects.select_related("target__environment")
    plan = _stored(plans, approval.arguments["plan"], target__environment=approval.environment)
    choices = {int(item): choice for item, choice in approval.arguments.get("choices", {}).items()}
    applying.request_apply(actor=actor, plan=plan, choices=choices)
    return ExecutionResult(sentence="The plan is being applied.", link=reverse("plan-detail", args=[plan.pk]))


def _resolve(actor: Principal, approval: Approval) -> ExecutionResult:
    items = PlanItem.objects.select_related("plan__target__environment")
    item = _stored(items, approval.arguments["item"], plan__target__environment=approval.environment)
    run = applying.request_resolution(actor=actor, item=item, choice=approval.arguments["choice"])
    return ExecutionResult(
        sentence="Your choice is being applied.", link=reverse("target-detail", args=[run.target_id])
    )


def _change(actor: Principal, approval: Approval) -> ExecutionResult:
    living = Target.objects.select_related("environment").filter(live=True)
    target = _stored(living, approval.arguments["target"], environment=approval.environment)
    link = reverse("target-detail", args=[target.pk])
    if "system" in approval.arguments:
        request_confirmation(actor=actor, target=target, system=approval.arguments["system"])
        return ExecutionResult(sentence="System confirmed. Creating a plan.", link=link)
    targets.change(actor=actor, target=target, **approval.arguments["rules"])
    return ExecutionResult(sentence="Rules changed.", link=link)


def _rotate(actor: Principal, approval: Approval) -> ExecutionResult:
    given = approval.arguments
    if "rotation" in given:
        return _decide(actor, approval)
    policy = _policy(approval)
    request_rotation(actor=actor, policy=policy, reason=given["reason"], emergency=given["emergency"])
    return ExecutionResult(sentence="Rotation started.")


def _decide(actor: Principal, approval: Approval) -> ExecutionResult:
    given = approval.arguments
    rotations = Rotation.objects.select_related("policy__environment", "policy__secret__environment")
    rotation = _stored(rotations, given["rotation"], policy__environment=approval.environment)
    DECISIONS[OperatorAction(given["act"])](actor=actor, rotation=rotation)
    return ExecutionResult(sentence="Your decision was applied.")


def _resume(actor: Principal, approval: Approval) -> ExecutionResult:
    policies.resume(actor=actor, policy=_policy(approval))
    return ExecutionResult(sentence="Rotation resumed.")


def _policy(approval: Approval) -> RotationPolicy:
    living = RotationPolicy.objects.select_related("environment", "secret__environment").filter(live=True)
    return _stored(living, approval.arguments["policy"], environment=approval.environment)


def _migrate(actor: Principal, approval: Approval) -> ExecutionResult:
    given = approval.arguments
    migration = _stored(Migration.objects.select_related("environment"), given["migration"])
    migrations.request_apply(
        actor=actor, migration=migration, digest=given["digest"], follow_seconds=given["follow"]
    )
    return ExecutionResult(sentence="The migration is being applied.")


class SyncApprovalExecutor(ApprovalExecutor):
    """Does what was approved about targets; the plan itself is what it keeps."""

    acts = {
        Action.TARGET_APPLY: _apply,
        Action.MIGRATION_APPLY: _migrate,
        Action.TARGET_ADOPT: _apply,
        Action.TARGET_REMOVE: _apply,
        Action.TARGET_RESOLVE: _resolve,
        Action.TARGET_CHANGE: _change,
        Action.ROTATION_RUN: _rotate,
        Action.ROTATION_CUT: _rotate,
        Action.ROTATION_RESOLVE: _decide,
        Action.ROTATION_SUSPEND: _resume,
    }
    refusals = (SyncError, SecretError)

    def object_url(self, approval: Approval) -> str:
        """Return the page of the plan, the migration or the target; empty if the act is about none."""
        migration = Migration.objects.filter(uuid=approval.object_uuid).only("pk").first()
        if migration:
            return reverse("migration-detail", args=[migration.pk])
        plan = Plan.objects.filter(uuid=approval.object_uuid).only("pk").first()
        if plan:
            return reverse("plan-detail", args=[plan.pk])
        target = Target.objects.filter(uuid=approval.object_uuid).only("pk").first()
        return reverse("target-detail", args=[target.pk]) if target else ""

    def state_of(self, approval: Approval) -> str | None:
        """Return the state of a target or a policy; that of a plan changes with each of its items."""
        if "target" in approval.arguments:
            target = Target.objects.filter(pk=approval.arguments["target"], live=True).first()
            return state_digest(target) if target else None
        if approval.action not in _OF_POLICIES:
            return approval.expected
        rows = RotationPolicy.objects.select_related("environment", "secret__environment")
        policy = rows.filter(uuid=approval.object_uuid, live=True).first()
        return state_of(policy) if policy else None

    def changed_names(self, *, actor: Principal, approval: Approval) -> ChangedNames | None:
        """Return what a plan does with the secrets that the actor sees; None if the act applies no plan."""
        if approval.action == Action.MIGRATION_APPLY:
            return self._carried_names(actor, approval)
        if "items" not in approval.arguments:
            return None
        plan = Plan.objects.select_related("target").filter(uuid=approval.object_uuid).first()
        place = approval.environment_id
        if plan is None or not allows(
            actor, Action.TARGET_VIEW, environment_id=place, name=plan.target.scope
        ):
            return None
        items = changing_items(plan)
        seen = [
            (str(item.name), str(item.act))
            for item in items[:_SHOWN]
            if allows(actor, Action.SECRET_VIEW, environment_id=place, name=item.name)
        ]
        return ChangedNames(of=self.object_url(approval), rows=seen, count=items.count())

    def _carried_names(self, actor: Principal, approval: Approval) -> ChangedNames | None:
        migration = Migration.objects.filter(uuid=approval.object_uuid).first()
        if migration is None or migration.plan_digest != approval.arguments["digest"]:
            return None
        lines = migrations.lines_to_carry(migration).filter(environment_uuid=approval.environment.uuid)
        seen = [
            (str(line.name), str(line.word))
            for line in lines.order_by("id")[:_SHOWN]
            if allows(actor, Action.SECRET_VIEW, environment_id=approval.environment_id, name=line.name)
        ]
        return ChangedNames(of=self.object_url(approval), rows=seen, count=lines.count())
