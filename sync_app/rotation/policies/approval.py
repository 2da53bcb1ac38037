"""Approvals of manual rotations and of policies in a protected environment.

Scheduled rotations need no approval: resuming the policy was approved, with its rules. A policy created
there starts suspended, and resuming it needs the approval.
"""

from audit_app.events.actions import Action
from audit_app.integrity.row_state import state_digest
from core.canonical_json import Json
from environments_app.approvals.gate import (
    ApprovalGrant,
    Line,
    Proposal,
    needs_second_person,
    require_approval,
)
from environments_app.authorization.policy import Principal
from environments_app.errors import Conflict
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.policies.credentials import rotator_class


def refuse_running(actor: Principal, policy: RotationPolicy) -> None:
    """Refuse to change how or where a running policy rotates. Raises Conflict."""
    if policy.suspended_at is None and needs_second_person(actor, policy.environment):
        raise Conflict(
            "The environment is protected: suspend the policy, change it, and resume it, which asks for "
            "approval."
        )


def require_resume_approval(actor: Principal, policy: RotationPolicy) -> ApprovalGrant:
    """Return the approval that lets a policy rotate. Raises ApprovalNeeded."""
    every = policy.cron or (f"every {policy.interval_seconds} s" if policy.interval_seconds else "by hand")
    zone = f" ({policy.time_zone})" if policy.cron else ""
    window = f"{policy.window} ({policy.time_zone})" if policy.window else "any time"
    waits = "after each consumer has confirmed" if policy.waits_for_consumers else "after the grace"
    lines = [
        Line("Rotator", "", policy.rotator),
        Line("Place", "", policy.endpoint),
        *_describe_settings(policy),
        Line("When", "", f"{every}{zone}"),
        Line("Window", "", window),
        Line("Grace", "", f"{policy.grace_seconds} s"),
        Line("The previous value ends", "", waits),
    ]
    return _require_approval(actor, Action.ROTATION_SUSPEND, policy, lines, {"policy": policy.pk})


def _describe_settings(policy: RotationPolicy) -> list[Line]:
    """Name every setting that is in force, defaults included: each decides what is rotated, and where."""
    lines = []
    for field in rotator_class(policy.rotator).settings_fields:
        value = policy.settings.get(field.name) or field.default
        if value:
            shown = "given" if field.name == "ca_certificate" else ", ".join(value.split("\n"))
            lines.append(Line(field.label, "", shown))
    return lines


def require_rotate_approval(
    actor: Principal, policy: RotationPolicy, *, emergency: bool, reason: str
) -> ApprovalGrant:
    """Return the approval of a rotation by hand. Raises ApprovalNeeded."""
    lines = [Line("Value", f"v{policy.secret.current_number}", "a new one")]
    if emergency:
        lines.append(Line("Grace", f"{policy.grace_seconds} s", "none: the previous value ends at once"))
    if reason:
        lines.append(Line("Why", "", reason))
    action = Action.ROTATION_CUT if emergency else Action.ROTATION_RUN
    arguments: dict[str, Json] = {"policy": policy.pk, "emergency": emergency, "reason": reason}
    return _require_approval(actor, action, policy, lines, arguments)


def require_decision_approval(
    actor: Principal, rotation: Rotation, act: str, action: Action
) -> ApprovalGrant:
    """Return the approval to roll a rotation back or to end its grace. Raises ApprovalNeeded."""
    policy = rotation.policy
    lines = [Line("Rotation", str(rotation.step), act.replace("_", " "))]
    return _require_approval(actor, action, policy, lines, {"rotation": rotation.pk, "act": act})


def state_of(policy: RotationPolicy) -> str:
    """Return what stands for the value and the policy that were looked at."""
    return f"{policy.secret.current_number}-{state_digest(policy)}"


def _require_approval(
    actor: Principal, action: Action, policy: RotationPolicy, summary: list[Line], arguments: dict[str, Json]
) -> ApprovalGrant:
    proposal = Proposal(
        action=action,
        environment=policy.environment,
        object=policy.audit_object,
        expected=state_of(policy),
        arguments=arguments,
        summary=summary,
    )
    return require_approval(actor=actor, proposal=proposal)
