"""What operators do with targets, plans and rotation policies in the admin, beside looking at them."""

from functools import partial
from typing import Final

from django import forms
from django.urls import reverse

from audit_app.events.actions import Action
from environments_app.admin.acts import Act, Place, Shown, offer
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable, SecretError
from sync_app.applying.service import request_apply
from sync_app.backends.registry import BACKENDS
from sync_app.errors import SyncError
from sync_app.forms.target_acts import credentials_form, new_target_form, rules_form
from sync_app.models import Plan, RotationPolicy, Run, Target
from sync_app.models.plan import PlanState
from sync_app.planning.service import request_plan
from sync_app.rotation.execution.dry_run import run_dry_run
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies import service as policies
from sync_app.runs import runner
from sync_app.targets import service as targets

_REFUSALS: Final = (SyncError, SecretError, EnvelopeError, KeyUnavailable, KeyRefused)


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
        done="Target created",
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
_TARGETS: Final = (
    *NEW_TARGETS,
    _target_act(
        name="test",
        label="Test connection",
        permission=Action.TARGET_TEST,
        use_case=runner.request_test,
        confirmation="A worker signs in to the target and looks at its permissions. Nothing is written; the "
        "run shows what it found.",
        done="Test requested",
        show=_shown_run,
    ),
    _target_act(
        name="plan",
        label="Create plan",
        permission=Action.TARGET_PLAN,
        use_case=request_plan,
        confirmation="A worker compares both sides and stores a plan, which you can review and apply.",
        done="Plan requested",
        show=_shown_run,
    ),
    _target_act(
        name="sync_now",
        label="Sync now",
        permission=Action.TARGET_APPLY,
        use_case=runner.request_sync,
        confirmation="Keeper plans and carries out at once what the rules of each target allow. "
        "To review the changes first, create a plan.",
        done="Sync requested",
        show=_shown_run,
    ),
    _target_act(
        name="credentials",
        label="Replace credentials",
        permission=Action.TARGET_CHANGE,
        use_case=targets.change_credentials,
        form_of=credentials_form,
        confirmation="Keeper signs in with the new credentials before it stores them. They are sealed and "
        "never shown again; the old ones are forgotten.",
        done="Credentials tested and replaced",
        bulk=False,
    ),
    _target_act(
        name="rules",
        label="Change rules",
        permission=Action.TARGET_CHANGE,
        use_case=targets.change,
        form_of=rules_form,
        confirmation="Plans that were made under the old rules can no longer be applied.",
        done="Rules changed",
        bulk=False,
    ),
    _target_act(
        name="pause",
        label="Pause",
        permission=Action.TARGET_PAUSE,
        use_case=targets.pause,
        against=lambda target: _removed(target) or ("It is paused already." if target.paused_at else ""),
        confirmation="Nothing is written to these targets until they are resumed.",
        done="Paused",
    ),
    _target_act(
        name="resume",
        label="Resume",
        permission=Action.TARGET_PAUSE,
        use_case=targets.resume,
        against=lambda target: _removed(target) or ("" if target.paused_at else "It is not paused."),
        confirmation="These targets are written to again.",
        done="Resumed",
    ),
)
_PLANS: Final = (
    Act(
        name="apply",
        label="Apply",
        permission=Action.TARGET_APPLY,
        use_case=request_apply,
        takes="plan",
        place=lambda plan: _place(plan.target),
        against=lambda plan: "" if plan.state == PlanState.READY else "It is not ready to be applied.",
        confirmation="A worker carries the plan out. Each item is checked again before it is written; "
        "conflicts are left for a decision on the plan's page.",
        done="Apply requested",
        show=_shown_run,
        bulk=False,
    ),
)
_policy_act: Final = partial(
    Act,
    takes="policy",
    place=lambda policy: Place(environment_id=policy.environment_id, name=policy.secret.name),
    against=_removed,
    named=lambda policy: f"{policy.environment.name}/{policy.secret.name}",
)
_POLICIES: Final = (
    _policy_act(
        name="dry_run",
        label="Dry run",
        permission=Action.ROTATION_RUN,
        use_case=run_dry_run,
        confirmation="Keeper signs in to the server and looks at the logins and their rights. "
        "Nothing is changed.",
        done="Dry run finished",
        show=lambda found: Shown(
            lines=[
                f"{'FAILS' if each.fails else 'OK'}: {each.what}. {each.detail}" for each in found.findings
            ],
            ok=found.ok,
        ),
        bulk=False,
    ),
    _policy_act(
        name="rotate_now",
        label="Rotate now",
        permission=Action.ROTATION_RUN,
        use_case=request_rotation,
        form=ReasonForm,
        confirmation="Each idle login gets a new value, which is tested and then served. "
        "The previous value works until its overlap ends.",
        done="Rotation requested",
    ),
    _policy_act(
        name="suspend",
        label="Suspend",
        permission=Action.ROTATION_SUSPEND,
        use_case=policies.suspend,
        against=lambda policy: (
            _removed(policy) or ("It is suspended already." if policy.suspended_at else "")
        ),
        confirmation="No rotation of these begins until they are resumed. One that runs continues.",
        done="Suspended",
    ),
    _policy_act(
        name="resume",
        label="Resume",
        permission=Action.ROTATION_SUSPEND,
        use_case=policies.resume,
        against=lambda policy: _removed(policy) or ("" if policy.suspended_at else "It is not suspended."),
        confirmation="Rotations of these begin again.",
        done="Resumed",
    ),
)


def register() -> None:
    """Offer the acts, once the pages are registered."""
    offer(Target, *_TARGETS, refusals=_REFUSALS)
    offer(Plan, *_PLANS, refusals=_REFUSALS)
    offer(RotationPolicy, *_POLICIES, refusals=_REFUSALS)
