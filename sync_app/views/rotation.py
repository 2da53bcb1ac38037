"""The pages of rotation: the list of policies, one with its steps and history, and what is done to it."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.act import Act
from environments_app.authorization.policy import Principal, environments_for
from environments_app.errors import Invisible
from environments_app.views.base import act_page, render_page
from secrets_app.errors import SecretError
from sync_app import acts
from sync_app.domain.rotation_state import OperatorAction, Slot, Step
from sync_app.forms.rotation import PolicyFilterForm, rotator_label, rotator_of
from sync_app.jobs.leases import database_now
from sync_app.models import Acknowledgement, Rotation, RotationPolicy
from sync_app.rotation.execution import operator_actions
from sync_app.rotation.execution.dry_run import run_dry_run
from sync_app.rotation.execution.logins import LoginComparison, align_logins, compare_logins
from sync_app.rotation.lookup import (
    find_orphaned_login,
    find_policy,
    find_rotation,
    require_policy_access,
    visible_due_secrets,
    visible_policies,
)
from sync_app.rotation.status import policy_status, status_condition, working_rotations
from sync_app.rotators.ab_logins import AbLogins
from sync_app.views.base import REFUSALS, page_of, refused
from sync_app.views.presenters.rotation import words_of

_SHOWN: Final = 12
_DUE_SHOWN: Final = 50
# The filters of the list under which a secret without a policy can be due.
_OF_DUE_SECRETS: Final = frozenset({"", "due", "overdue"})
_REFUSALS: Final = (*REFUSALS, SecretError)


@require_GET
def rotation_list(request: HttpRequest) -> HttpResponse:
    """List policies, and above them the secrets that are due without one, such as after an offboarding."""
    actor, now = principal_of(request), database_now()
    form = PolicyFilterForm(request.GET)
    named = request.GET.get("environment", "")
    state = form.cleaned_data["state"] if form.is_valid() else ""
    policies, due = visible_policies(actor), visible_due_secrets(actor, now)
    policies = policies.filter(status_condition(state, now)) if state else policies
    due = due if state in _OF_DUE_SECRETS else due.none()
    policies_shown = policies.filter(environment__name=named) if named else policies
    due_shown = due.filter(environment__name=named) if named else due
    elsewhere = [rows.exclude(environment__name=named).count() for rows in (policies, due)] if named else []
    page, links = page_of(request, policies_shown, by="id")
    working = working_rotations(page)
    context = {
        "rows": [
            {
                "policy": policy,
                "kind": rotator_label(policy.rotator),
                "url": reverse("rotation-policy", args=[policy.pk]),
                "standing": policy_status(policy, working.get(policy.pk), now),
                "rotation": working.get(policy.pk),
            }
            for policy in page
        ],
        "due": due_shown[:_DUE_SHOWN],
        "due_shown": _DUE_SHOWN,
        "environment": named,
        "elsewhere": sum(elsewhere),
        "filters": form,
        "filtered": bool(state),
        "manages": environments_for(actor, Action.TRAIL_VIEW) is not None,
    }
    return render(request, "sync_app/rotation_list.html", context | links)


@require_GET
def policy_detail(request: HttpRequest, id: int) -> HttpResponse:
    policy = require_policy(request, id)
    latest = list(Rotation.objects.filter(policy=policy)[:_SHOWN])
    for rotation in latest:
        rotation.policy = policy
    working = next((rotation for rotation in latest if rotation.slot == Slot.WORKING), None)
    left = find_orphaned_login(policy)
    if left is not None:
        left.policy = policy
    kind = rotator_of(policy.rotator)
    context = {
        "policy": policy,
        "environment": policy.environment,
        "secret": policy.secret,
        "secret_url": reverse("secret-detail", args=[policy.secret.pk]),
        "kind": rotator_label(policy.rotator),
        "words": words_of(kind),
        "has_logins": kind is not None and issubclass(kind, AbLogins),
        "standing": policy_status(policy, working, database_now()),
        "rotation": working,
        "waiting": next((rotation for rotation in latest if rotation.slot == Slot.WAITING), None),
        "steps": _steps(working) if working else [],
        "acts": _list_actions(principal_of(request), working) if working else [],
        "left": left,
        "left_acts": _list_actions(principal_of(request), left) if left and not working else [],
        "history": latest,
        "consumers": list(Acknowledgement.objects.filter(secret=policy.secret)[:50]),
        "every": _words(policy.interval_seconds),
        "grace": _words(policy.grace_seconds),
        "settings": {
            name: text for name, text in policy.settings.items() if text and name != "ca_certificate"
        },
        "can": rights(principal_of(request), policy),
        "verified": policy.is_authentic(),
    }
    return render_page(request, "sync_app/policy_detail.html", context)


@require_POST
def policy_rehearse(request: HttpRequest, id: int) -> HttpResponse:
    policy = require_policy(request, id, Action.ROTATION_RUN)
    try:
        found = run_dry_run(actor=principal_of(request), policy=policy)
    except _REFUSALS as error:
        return refused(request, error, reverse("rotation-policy", args=[id]))
    context = {"policy": policy, "environment": policy.environment, "found": found}
    return render_page(request, "sync_app/rehearsal.html", context)


@require_POST
def policy_logins(request: HttpRequest, id: int) -> HttpResponse:
    """Show in what the two logins differ, and by which statements they become alike."""
    policy = require_policy(request, id, Action.ROTATION_RUN)
    return _show_logins(
        request, policy, lambda: compare_logins(actor=principal_of(request), policy=policy), applied=False
    )


@require_POST
def policy_align(request: HttpRequest, id: int) -> HttpResponse:
    """Run the statements that were shown, and show what still differs."""
    policy = require_policy(request, id, Action.ROTATION_CHANGE)
    expected = request.POST.get("expected", "")
    return _show_logins(
        request,
        policy,
        lambda: align_logins(actor=principal_of(request), policy=policy, expected=expected),
        applied=True,
    )


def _show_logins(
    request: HttpRequest, policy: RotationPolicy, look: Callable[[], LoginComparison], *, applied: bool
) -> HttpResponse:
    try:
        comparison = look()
    except _REFUSALS as error:
        return refused(request, error, reverse("rotation-policy", args=[policy.pk]))
    context = {
        "policy": policy,
        "environment": policy.environment,
        "found": comparison,
        "applied": applied,
        "can": rights(principal_of(request), policy),
    }
    return render_page(request, "sync_app/logins.html", context)


@require_POST
def rotation_act(request: HttpRequest, id: int, act: str) -> HttpResponse:
    row = Rotation.objects.filter(pk=id).select_related("policy__environment").first()
    if row is None or act not in set(OperatorAction):
        raise Invisible("There is no such rotation.")
    rotation = find_rotation(actor=principal_of(request), environment=row.policy.environment, id=id)
    url = reverse("rotation-policy", args=[rotation.policy_id])
    try:
        operator_actions.DECISIONS[OperatorAction(act)](actor=principal_of(request), rotation=rotation)
    except _REFUSALS as error:
        return refused(request, error, url)
    messages.success(request, words_of(rotator_of(rotation.policy.rotator)).acts[OperatorAction(act)][1])
    return redirect(url)


def require_policy(request: HttpRequest, id: int, action: Action = Action.ROTATION_VIEW) -> RotationPolicy:
    """Return the policy of an address, for an act on it. Raises Invisible or Forbidden; it is recorded."""
    row = RotationPolicy.objects.filter(pk=id, live=True).select_related("environment").first()
    if row is None:
        raise Invisible("There is no such policy.")
    policy = find_policy(actor=principal_of(request), environment=row.environment, id=id)
    require_policy_access(actor=principal_of(request), action=action, policy=policy)
    return policy


def rights(actor: Principal, policy: RotationPolicy) -> dict[str, bool]:
    """Return which acts a policy's page offers; the use cases ask again."""
    return {act.name: act.permitted(actor, policy) for act in acts.POLICIES}


def _find(act: Act, request: HttpRequest, *, id: int) -> RotationPolicy:
    return require_policy(request, id, act.permission)


ACT_PAGES: Final = {
    act.slug: act_page(
        act,
        partial(_find, act),
        back=lambda policy: reverse("rotation-policy", args=[policy.pk]),
        after=(lambda _: reverse("rotation")) if act.name == "remove" else None,
        refusals=_REFUSALS,
    )
    for act in acts.POLICIES
    if act.on_page
}


def _words(seconds: int) -> str:
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {unit}{'' if seconds == size else 's'}"
    return "none"


def _steps(rotation: Rotation) -> list[dict[str, Any]]:
    step, words = Step(rotation.step), words_of(rotator_of(rotation.policy.rotator)).steps
    if step is Step.WITHDRAW:
        return [{"words": "Revoke the unused new value", "state": "now"}]
    at = list(words).index(step)
    return [
        {"words": label, "state": "past" if number < at else "now" if number == at else "next"}
        for number, label in enumerate(words.values())
    ]


def _list_actions(actor: Principal, rotation: Rotation) -> list[dict[str, str]]:
    words = words_of(rotator_of(rotation.policy.rotator)).acts
    return [
        {
            "name": act.name,
            "label": words[OperatorAction(act.name)][0],
            "told": words[OperatorAction(act.name)][1],
            "url": reverse("rotation-act", args=[rotation.pk, act.name]),
        }
        for act in sorted(acts.ROTATIONS, key=lambda act: act.name)
        if act.name in rotation.allowed_actions and act.permitted(actor, rotation)
    ]
