"""The acts on targets, plans, rotation policies and rotations."""

from functools import partial
from typing import Final

from django import forms
from django.urls import reverse

from audit_app.events.actions import Action
from environments_app.authorization.act import Act, Place, Shown
from sync_app.applying.service import request_apply, request_resolution
from sync_app.backends.registry import BACKENDS
from sync_app.domain.rotation_state import OperatorAction
from sync_app.forms.target_acts import credentials_form, new_target_form, rules_form
from sync_app.models import RotationPolicy, Run, Target
from sync_app.models.plan import PlanKind, PlanState
from sync_app.planning.service import request_confirmation, request_plan
from sync_app.rotation.execution import operator_actions
from sync_app.rotation.execution.dry_run import run_dry_run
from sync_app.rotation.execution.logins import align_logins, compare_logins
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies import service as policies
from sync_app.runs import runner
from sync_app.targets import connection_check
from sync_app.targets import service as targets


class ReasonForm(forms.Form):
    """Why a rotation is asked for."""

    reason = forms.CharField(required=False, max_length=200, help_text="Recorded with the rotation.")


def _place(target: Target) -> Place:
    return Place(environment_id=target.environment_id, name=target.scope)


def _named(target: Target) -> str:
    return f"{target.environment.name}/{target.name}"


def _removed(row: Target | RotationPolicy) -> str:
    return "" if row.live else "It was removed."


def _shown_run(run: Run) -> Shown:
    return Shown(
        lines=(f"Run {run.pk} is queued: {run.kind} of {run.target.name}.",),
        url=reverse("admin:sync_app_run_change", args=[run.pk]),
    )


# One for each kind of system; the page of a new target leads to them.
NEW_TARGETS: Final = tuple(
    Act(
        name=f"add_{name}",
        label=f"Add {kind.label}",
        permission=Action.TARGET_CREATE,
        use_case=targets.create,
        form=new_target_form(name),
        confirmation="Keeper signs in and lists the destination before it stores the target. Credentials are "
        "sealed and never shown again. Nothing is written there until a plan is applied.",
        done="Target created.",
        show=lambda target: Shown(
            lines=(
                f"{_named(target)} leads to {target.system}. Nothing has been written yet.",
                "Create a plan on its page to see what a sync would do, or sync at once.",
            )
        ),
        listed=False,
    )
    for name, kind in BACKENDS.items()
)
_target_act: Final = partial(Act, takes="target", place=_place, against=_removed, named=_named)
TARGETS: Final = (
    *NEW_TARGETS,
    _target_act(
        name="test",
        label="Test connection",
        permission=Action.TARGET_TEST,
        use_case=connection_check.test,
        summary="Test a target",
        about="Ask the other system what the credentials may do, and change nothing there.",
    ),
    _target_act(
        name="request_test",
        label="Test connection",
        permission=Action.TARGET_TEST,
        use_case=runner.request_test,
        confirmation="A worker signs in to the target and looks at its permissions. Nothing is written; the "
        "run shows what it found.",
        done="Test requested.",
        show=_shown_run,
    ),
    _target_act(
        name="plan",
        label="Create plan",
        permission=Action.TARGET_PLAN,
        records=Action.TARGET_REQUEST,
        use_case=request_plan,
        summary="Plan a sync",
        about="Queue the making of a plan, which changes nothing on either side.",
        confirmation="A worker compares both sides and stores a plan, which you can review and apply.",
        done="Plan requested.",
        show=_shown_run,
    ),
    _target_act(
        name="sync",
        label="Sync now",
        permission=Action.TARGET_APPLY,
        records=Action.TARGET_REQUEST,
        use_case=runner.request_sync,
        summary="Sync now",
        about="Queue a pass that plans and carries out what it planned.",
        confirmation="Keeper plans and carries out at once what the rules of each target allow. "
        "To review the changes first, create a plan.",
        done="Sync requested.",
        show=_shown_run,
    ),
    _target_act(
        name="adopt",
        label="Import existing secrets",
        permission=Action.TARGET_ADOPT,
        records=Action.TARGET_REQUEST,
        use_case=partial(request_plan, kind=PlanKind.ADOPT),
        summary="Plan an adoption",
        about="Queue a plan that takes over secrets which exist in the target.",
    ),
    _target_act(
        name="disconnect",
        label="Disconnect",
        permission=Action.TARGET_REMOVE,
        records=Action.TARGET_REQUEST,
        use_case=partial(request_plan, kind=PlanKind.DISCONNECT),
        summary="Plan a disconnection",
        about="Queue a plan that leaves, or withdraws, what the target wrote.",
    ),
    _target_act(
        name="credentials",
        label="Replace credentials",
        permission=Action.TARGET_CHANGE,
        use_case=targets.change_credentials,
        form_of=credentials_form,
        summary="Replace credentials",
        about="Replace the credentials, perhaps with an address of the same system; they are never answered.",
        confirmation="Keeper signs in with the new credentials before it stores them. They are sealed and "
        "never shown again; the old ones are forgotten.",
        done="Credentials tested and replaced.",
        bulk=False,
    ),
    _target_act(
        name="system",
        label="Confirm a rebuilt system",
        permission=Action.TARGET_CHANGE,
        use_case=request_confirmation,
        summary="Confirm a rebuilt system",
        about="Have the target be in the system that answers, if it is this one; automatic goes off; plan.",
    ),
    _target_act(
        name="rules",
        label="Change rules",
        permission=Action.TARGET_CHANGE,
        use_case=targets.change,
        form_of=rules_form,
        confirmation="Plans that were made under the old rules can no longer be applied.",
        done="Rules changed.",
        bulk=False,
    ),
    _target_act(
        name="pause",
        label="Pause",
        permission=Action.TARGET_PAUSE,
        use_case=targets.pause,
        against=lambda target: _removed(target) or ("It is paused already." if target.paused_at else ""),
        summary="Pause a target",
        about="Let nothing be synced until the target is resumed.",
        on_page=True,
        confirmation="Nothing is written to these targets until they are resumed.",
        done="Target paused. Nothing is written until you resume.",
    ),
    _target_act(
        name="resume",
        label="Resume",
        permission=Action.TARGET_PAUSE,
        use_case=targets.resume,
        against=lambda target: _removed(target) or ("" if target.paused_at else "It is not paused."),
        summary="Resume a target",
        about="Let a paused target be synced again.",
        on_page=True,
        confirmation="These targets are written to again.",
        done="Target resumed.",
    ),
    _target_act(
        name="remove",
        label="Remove",
        permission=Action.TARGET_REMOVE,
        use_case=targets.remove,
        on_page=True,
        done="{row.name} removed. Its destination can be used again.",
    ),
)
PLANS: Final = (
    Act(
        name="apply",
        label="Apply",
        permission=Action.TARGET_APPLY,
        use_case=request_apply,
        summary="Apply a plan",
        about="Queue the carrying out of a plan; each item is checked again before it is touched.",
        needs_approval=True,
        takes="plan",
        place=lambda plan: _place(plan.target),
        against=lambda plan: "" if plan.state == PlanState.READY else "It is not ready to be applied.",
        confirmation="A worker carries the plan out. Each item is checked again before it is written; "
        "conflicts are left for a decision on the plan's page.",
        done="Apply requested.",
        show=_shown_run,
        bulk=False,
    ),
)
ITEMS: Final = (
    Act(
        name="resolve",
        label="Resolve",
        permission=Action.TARGET_RESOLVE,
        use_case=request_resolution,
        takes="item",
        place=lambda item: _place(item.plan.target),
        summary="Resolve a conflict",
        about="Queue what a person chose; it holds if both sides are still as the plan showed them.",
        needs_approval=True,
    ),
)
_policy_act: Final = partial(
    Act,
    takes="policy",
    place=lambda policy: Place(environment_id=policy.environment_id, name=policy.secret.name),
    against=_removed,
    named=lambda policy: f"{policy.environment.name}/{policy.secret.name}",
)
POLICIES: Final = (
    _policy_act(
        name="credentials",
        label="Replace credential",
        permission=Action.ROTATION_CHANGE,
        use_case=policies.change_connection,
        summary="Replace a rotator's credential",
        about="Replace the credential, once it was seen to work.",
    ),
    _policy_act(
        name="dry_run",
        label="Dry run",
        permission=Action.ROTATION_RUN,
        records=Action.ROTATION_CONNECT,
        use_case=run_dry_run,
        summary="Try a rotation",
        about="Look whether a rotation would get through, and change nothing.",
        confirmation="Keeper signs in to the server and looks at the logins and their rights. "
        "Nothing is changed.",
        done="Dry run finished.",
        show=lambda found: Shown(
            lines=[
                f"{'FAILS' if each.fails else 'OK'}: {each.what}. {each.detail}" for each in found.findings
            ],
            ok=found.ok,
        ),
        bulk=False,
    ),
    _policy_act(
        name="logins",
        label="Compare logins",
        permission=Action.ROTATION_RUN,
        records=Action.ROTATION_CONNECT,
        use_case=compare_logins,
        summary="Compare the logins of a policy",
        about="Return in what the idle login differs from the one that is served; nothing is changed.",
    ),
    _policy_act(
        name="align",
        label="Align logins",
        permission=Action.ROTATION_CHANGE,
        use_case=align_logins,
        summary="Make the idle login like the one that is served",
        about="Run what a comparison offers for Keeper's administrator; return what still differs.",
    ),
    _policy_act(
        name="rotate",
        label="Rotate now",
        permission=Action.ROTATION_RUN,
        use_case=request_rotation,
        form=ReasonForm,
        summary="Rotate a secret",
        about="Queue a rotation; during another's grace period it waits; a waiting one is returned.",
        needs_approval=True,
        on_page=True,
        confirmation="Each idle login gets a new value, which is tested and then served. "
        "The previous value works until its overlap ends.",
        done="Rotation requested.",
    ),
    _policy_act(
        name="suspend",
        label="Suspend",
        permission=Action.ROTATION_SUSPEND,
        use_case=policies.suspend,
        against=lambda policy: (
            _removed(policy) or ("It is suspended already." if policy.suspended_at else "")
        ),
        summary="Suspend a rotation policy",
        about="Let no rotation begin until the policy is resumed.",
        on_page=True,
        confirmation="No rotation of these begins until they are resumed. One that runs continues.",
        done="Rotation suspended. Nothing rotates until you resume.",
    ),
    _policy_act(
        name="resume",
        label="Resume",
        permission=Action.ROTATION_SUSPEND,
        use_case=policies.resume,
        against=lambda policy: _removed(policy) or ("" if policy.suspended_at else "It is not suspended."),
        summary="Resume a rotation policy",
        about="Let a suspended policy rotate again.",
        needs_approval=True,
        on_page=True,
        confirmation="Rotations of these begin again.",
        done="Rotation resumed.",
    ),
    _policy_act(
        name="remove",
        label="Remove policy",
        permission=Action.ROTATION_REMOVE,
        use_case=policies.remove,
        on_page=True,
        done="{row.secret.name} : rotation removed.",
    ),
)
# What an operator decides about a rotation. Its page has the words of each kind of rotator.
ROTATIONS: Final = tuple(
    Act(
        name=str(decision),
        label=summary,
        permission=permission,
        use_case=operator_actions.DECISIONS[decision],
        takes="rotation",
        place=lambda rotation: Place(
            environment_id=rotation.policy.environment_id, name=rotation.policy.secret.name
        ),
        summary=summary,
        about="Decide, if the rotation offers it now.",
        needs_approval=decision in {OperatorAction.ROLL_BACK, OperatorAction.CUT_GRACE},
    )
    for decision, summary, permission in (
        (OperatorAction.RETRY, "Retry a rotation", Action.ROTATION_RESOLVE),
        (OperatorAction.ROLL_BACK, "Roll a rotation back", Action.ROTATION_RESOLVE),
        (OperatorAction.ABANDON, "Abandon a rotation", Action.ROTATION_RESOLVE),
        (OperatorAction.RETIRE, "Retire what an abandoned rotation left", Action.ROTATION_RESOLVE),
        (OperatorAction.CUT_GRACE, "Cut a grace", Action.ROTATION_CUT),
    )
)
