"""Approvals before a sync in a protected environment.

Scheduled passes need no approval: making a target automatic was approved, once, with its rules. A plan that
a user applies is approved item by item.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Final

from django.db.models import Case, QuerySet, When

from audit_app.events import actors
from audit_app.events.actions import Action, Outcome
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import state_digest
from audit_app.models import AuditEvent
from audit_app.recording.drafts import AuditObject
from core.canonical_json import Json, canonical_json
from environments_app.approvals.gate import (
    ApprovalGrant,
    Line,
    Proposal,
    needs_second_person,
    require_approval,
    system_approval,
)
from environments_app.authorization.policy import Principal
from environments_app.errors import ApprovalVoid, Conflict
from environments_app.models import Approval, ApprovalState
from sync_app.models import Plan, PlanItem, Target
from sync_app.models.plan import Act
from sync_app.targets.rules import CHANGEABLE, CHOSEN_ONCE, rules_of_backend

# Neither changes what is written, nor where.
_HARMLESS: Final = frozenset({"name", "interval_seconds"})
# The option of a plan that names its approval; the row's MAC covers it.
APPROVAL: Final = "approval"
# What decides, besides its items, how a plan is carried out.
_WORDS: Final = {
    "endpoint": "Address",
    "recovery_window_days": "Recovery window (days)",
    "kms_key_id": "KMS key",
    "objects": "JSON objects",
}
# What writes on either side, in the order in which a person reads a plan.
_WRITING: Final = (Act.CREATE, Act.UPDATE, Act.PULL, Act.ADOPT, Act.DELETE, Act.RELEASE)
_ORDER: Final = (*_WRITING, *(act for act in Act if act not in {*_WRITING, Act.UNCHANGED}), Act.UNCHANGED)


def require_apply_approval(
    actor: Principal, plan: Plan, action: Action, *, staged: Sequence[PlanItem] = ()
) -> ApprovalGrant:
    """Return the approval to carry out a plan with the choices in `staged`. Raises ApprovalNeeded."""
    target = plan.target
    lines = [Line(str(act), "", str(plan.counts[act])) for act in _ORDER if plan.counts.get(act)]
    digest = items_digest(plan, staged=staged)
    arguments: dict[str, Json] = {"plan": plan.pk, "items": digest}
    if staged:
        arguments["choices"] = {
            str(item.pk): "take_theirs" if item.act == Act.PULL else "keep_ours" for item in staged
        }
    proposal = Proposal(
        action=action,
        environment=target.environment,
        object=AuditObject("plan", plan.uuid, target.name),
        expected=plan_state(plan, staged=staged),
        arguments=arguments,
        summary=[
            Line("Plan", "", f"number {plan.pk} ({plan.kind})"),
            *lines,
            *(Line(str(item.name), "", str(item.reason)) for item in staged),
            *_destination_lines(plan),
        ],
    )
    return require_approval(actor=actor, proposal=proposal)


def plan_state(plan: Plan, *, staged: Sequence[PlanItem] = ()) -> str:
    """Return what stands for the items of a plan with the choices in `staged`."""
    return items_digest(plan, staged=staged)[:32]


def _destination_lines(plan: Plan) -> list[Line]:
    """Return what decides, besides its items, how a plan is carried out."""
    given = {name: str(plan.rules[name]) for name in _WORDS if plan.rules.get(name)}
    if "endpoint" in given:
        # AWS has one for each of its services, often the same.
        given["endpoint"] = " ".join(dict.fromkeys(given["endpoint"].split()))
    return [Line(_WORDS[name], "", text) for name, text in given.items()]


def changing_items(plan: Plan) -> QuerySet[PlanItem]:
    """Return the items of a plan that write on either side, in the order in which a person reads them."""
    order = Case(*(When(act=act, then=place) for place, act in enumerate(_WRITING)))
    return PlanItem.objects.filter(plan=plan, act__in=_WRITING).order_by(order, "name")


def require_resolve_approval(actor: Principal, item: PlanItem, options: dict[str, Json]) -> ApprovalGrant:
    """Return the approval to settle one conflict as a person chose. Raises ApprovalNeeded."""
    plan = item.plan
    proposal = Proposal(
        action=Action.TARGET_RESOLVE,
        environment=plan.target.environment,
        object=AuditObject("plan", plan.uuid, f"{plan.target.name}: {item.name}"),
        arguments={"item": item.pk, **options},
        summary=[Line(item.name, "", str(options["choice"]).replace("_", " "))],
    )
    return require_approval(actor=actor, proposal=proposal)


def require_change_approval(actor: Principal, target: Target, rules: dict[str, Json]) -> ApprovalGrant | None:
    """Return the approval to change the rules of an automatic target; None if it needs none."""
    if not _widens(actor, target, rules):
        return None
    of_backend = rules.get("destination")
    before = {name: getattr(target, name) for name in sorted(rules.keys() - {"destination"})}
    after = dict(rules)
    if isinstance(of_backend, dict):
        before |= {name: target.destination.get(name, "") for name in sorted(of_backend)}
        after |= of_backend
    place = [
        Line("Place", "", f"{target.backend} {target.system} {target.place}".strip()),
        Line("Address", "", str(target.endpoint)),
        Line("System", "", _system_from(target)),
    ]
    # What it does by itself from now on is approved as a whole: also the rules that were set before.
    kept = {name: getattr(target, name) for name in (*CHANGEABLE, *CHOSEN_ONCE)} | rules_of_backend(target)
    kept |= {name: target.destination.get(name, "") for name in _WORDS if name not in {"endpoint", *kept}}
    lines = [
        *(Line(_label(name), str(value), str(after[name])) for name, value in before.items()),
        *(
            Line(_label(name), "", str(value))
            for name, value in kept.items()
            if name not in before and value != ""
        ),
    ]
    return _require_change(actor, target, {"rules": rules}, [*place, *lines])


def _label(name: str) -> str:
    return _WORDS.get(name) or name.replace("_", " ").capitalize()


def _system_from(target: Target) -> str:
    """Return whose word it is that the address leads to the target's system."""
    rows = AuditEvent.objects.filter(
        stream=environment_stream(target.environment.uuid),
        object_uuid=target.uuid,
        action__in=(Action.TARGET_CREATE, Action.TARGET_CHANGE),
        outcome=Outcome.ALLOWED,
    )
    for event in rows.order_by("-id"):
        details = json.loads(event.details)
        if "system" in details and event.action == Action.TARGET_CHANGE:
            return f"confirmed by {event.actor_name}, approved by {details.get('approved_by', 'no one')}"
        if "endpoint" in details:
            return f"not confirmed by another person: address and credentials are from {event.actor_name}"
    return "not confirmed by another person"


def require_confirm_approval(actor: Principal, target: Target, system: str) -> ApprovalGrant:
    """Return the approval to have a target be in another system. Raises ApprovalNeeded."""
    line = Line("System", str(target.system), system)
    return _require_change(actor, target, {"system": system}, [line])


def _require_change(
    actor: Principal, target: Target, arguments: dict[str, Json], summary: list[Line]
) -> ApprovalGrant:
    proposal = Proposal(
        action=Action.TARGET_CHANGE,
        environment=target.environment,
        object=target.audit_object,
        expected=state_digest(target),
        arguments={"target": target.pk, **arguments},
        summary=summary,
    )
    return require_approval(actor=actor, proposal=proposal)


def refuse_unapproved_widening(actor: Principal, stored: Target, rules: dict[str, Json]) -> None:
    """Refuse a change that needs an approval by now. Raises Conflict."""
    if _widens(actor, stored, rules):
        raise Conflict("The target or its environment changed in the meantime. Reload the page.")


def refuse_unattended(actor: Principal, target: Target) -> None:
    """Refuse a change that would let a target of a protected environment write without an approval.

    Raises Conflict.
    """
    if target.automatic and needs_second_person(actor, target.environment):
        raise Conflict(
            "Automatic apply needs approval in a protected environment. Do this "
            "with it off, then switch it on: that requests the approval."
        )


def refuse_unplanned(actor: Principal, target: Target) -> None:
    """Refuse to plan and apply in one step if the plan needs an approval. Raises Conflict."""
    if not target.automatic and needs_second_person(actor, target.environment):
        raise Conflict("The environment is protected. Create a plan and apply it to request approval.")


def load_approval(actor: Principal, plan: Plan) -> ApprovalGrant:
    """Return the approval of a plan that is being carried out, perhaps by another worker than began.

    Raises ApprovalVoid if it was not approved, or differs from the approved plan.
    """
    environment = plan.target.environment
    if needs_second_person(actor, environment) and not _is_approved(plan):
        raise ApprovalVoid("This plan needs approval because the environment is protected.")
    # Approved, or Keeper's own: in both cases Keeper works within the granted rights.
    return system_approval(actors.system(), environment)


def items_digest(plan: Plan, *, staged: Sequence[PlanItem] = ()) -> str:
    """Return a digest of what a plan would do, as it was shown, and under which rules: 64 characters.

    `staged` are items with acts that were chosen and are not stored yet.
    """
    chosen = {item.name: str(item.act) for item in staged}
    digest = hashlib.sha256(canonical_json(plan.rules))
    columns = (
        "name",
        "act",
        "secret_uuid",
        "keeper_version",
        "target_version",
        "target_presence",
        "remote_id",
        "ownership",
    )
    for row in PlanItem.objects.filter(plan=plan).order_by("pk").values_list(*columns).iterator():
        name, act, *rest = row
        digest.update(canonical_json([str(value) for value in (name, chosen.get(name, act), *rest)]))
    return digest.hexdigest()


def _is_approved(plan: Plan) -> bool:
    mark = plan.options.get(APPROVAL)
    if mark is None:
        return plan.target.automatic and not plan.options
    rows = Approval.objects.select_related("environment").filter(
        uuid=mark, environment=plan.target.environment, state=ApprovalState.EXECUTED
    )
    return any(
        row.action == Action.TARGET_RESOLVE
        or (row.object_uuid == plan.uuid and row.arguments["items"] == items_digest(plan))
        for row in verified_rows(rows)
    )


def _widens(actor: Principal, target: Target, rules: dict[str, Json]) -> bool:
    changed = {name for name, value in rules.items() if getattr(target, name, None) != value}
    automatic = rules.get("automatic", target.automatic)
    return bool(automatic and changed - _HARMLESS) and needs_second_person(actor, target.environment)
