"""The pages with forms about rotation: a new policy, its rules, its rotator's credential."""

from collections.abc import Sequence
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.errors import Conflict, InvalidField
from environments_app.views.base import as_sentence, attempt, render_page
from secrets_app.errors import SecretError
from secrets_app.queries.lookup import find_secret, require_on
from sync_app.errors import SyncError
from sync_app.forms.rotation import CadenceForm, ConnectionForm, PolicyForm, rotator_of
from sync_app.models import RotationPolicy
from sync_app.rotation.policies import service as policies
from sync_app.rotators.ab_logins import AbLogins
from sync_app.rotators.registry import ROTATORS
from sync_app.views.presenters.rotation import words_of
from sync_app.views.rotation import require_policy

# Of the differences of two logins, in a message; the page that compares them has all.
_TOLD: Final = 3
_SHOWN: Final[dict[str, Any]] = {
    "refusals": (InvalidField, Conflict, SyncError, SecretError),
    "sentence": as_sentence,
}


@require_http_methods(["GET", "POST"])
def policy_new(request: HttpRequest, id: int) -> HttpResponse:
    """Put a secret under rotation: first with which rotator, then the form that it declares."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id)
    require_on(actor=actor, action=Action.ROTATION_CREATE, secret=secret)
    name = request.GET.get("rotator", "")
    kind = rotator_of(name)
    context: dict[str, Any] = {"secret": secret, "environment": secret.environment}
    if kind is None:
        kinds = [
            {"label": each.label, "icon": each.icon, "url": f"?rotator={key}"}
            for key, each in ROTATORS.items()
        ]
        context |= {
            "title": f"Rotate {secret.name}",
            "question": "Choose a rotation method",
            "kinds": kinds,
            "cancel_url": reverse("secret-detail", args=[secret.pk]),
        }
        return render_page(request, "sync_app/kinds.html", context)
    form = PolicyForm(request.POST or None, rotator=kind)
    if request.method == "POST" and form.is_valid():
        policy = attempt(
            form,
            lambda: policies.create(
                actor=actor,
                secret=secret,
                rotator=name,
                settings=form.settings,
                credentials=form.credentials,
                **form.rules,
            ),
            **_SHOWN,
        )
        if policy is not None:
            messages.success(request, f"{secret.name} : rotation set up. Nothing has changed yet.")
            if policy.differences:
                named = "; ".join(difference.what for difference in policy.differences[:_TOLD])
                more = f"; and {len(policy.differences) - _TOLD} more" if policy.differences[_TOLD:] else ""
                messages.warning(request, f"The logins differ, so no rotation gets through: {named}{more}.")
            return redirect("rotation-policy", id=policy.pk)
    context |= {"form": form, "kind": kind.label, "words": words_of(kind)}
    context["of_database"] = issubclass(kind, AbLogins)
    return render_page(request, "sync_app/policy_form.html", context)


@require_http_methods(["GET", "POST"])
def policy_rules(request: HttpRequest, id: int) -> HttpResponse:
    policy = require_policy(request, id, Action.ROTATION_CHANGE)
    form = CadenceForm(request.POST or None, initial=CadenceForm.initial_of(policy))
    if request.method == "POST" and form.is_valid():
        actor = principal_of(request)
        if attempt(form, lambda: policies.change(actor=actor, policy=policy, **form.rules), **_SHOWN):
            messages.success(request, "Rules saved. A running overlap does not change.")
            return redirect("rotation-policy", id=id)
    title, fields = f"Rotation of {policy.secret.name}", form.rule_fields()
    return _form(request, policy, form, title=title, label="Save rules", fields=fields)


@require_http_methods(["GET", "POST"])
def policy_connection(request: HttpRequest, id: int) -> HttpResponse:
    policy = require_policy(request, id, Action.ROTATION_CHANGE)
    kind = ROTATORS[policy.rotator]
    words = words_of(kind)
    form = ConnectionForm(request.POST or None, rotator=kind, initial=ConnectionForm.initial_of(policy))
    if request.method == "POST" and form.is_valid():
        actor = principal_of(request)
        changed = attempt(
            form,
            lambda: policies.change_connection(
                actor=actor, policy=policy, credentials=form.credentials, settings=form.settings
            ),
            **_SHOWN,
        )
        if changed is not None:
            messages.success(request, words.connected)
            return redirect("rotation-policy", id=id)
    title = f"Rotator of {policy.secret.name}"
    fields = [*form.credential_fields(), *form.setting_fields()]
    return _form(
        request, policy, form, title=title, label=words.connect, told=words.connecting, fields=fields
    )


def _form(
    request: HttpRequest,
    policy: RotationPolicy,
    form: forms.Form,
    *,
    title: str,
    label: str,
    fields: Sequence[forms.BoundField],
    told: str = "",
) -> HttpResponse:
    context = {
        "form": form,
        "title": title,
        "label": label,
        "told": told,
        "fields": fields,
        "environment": policy.environment,
        "cancel_url": reverse("rotation-policy", args=[policy.pk]),
    }
    return render_page(request, "sync_app/change.html", context)
