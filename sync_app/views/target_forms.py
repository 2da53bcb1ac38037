"""The pages with forms about a target: a new one, its rules, its credentials, and whether it works."""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal
from environments_app.errors import Conflict, InvalidField
from environments_app.models import Environment
from environments_app.views.base import as_sentence, attempt, render_page
from secrets_app.errors import KeyRefused, KeyUnavailable
from sync_app.backends.registry import BACKENDS
from sync_app.errors import SyncError
from sync_app.forms.target import CredentialsForm, RulesForm, TargetForm, backend_of
from sync_app.models import Target
from sync_app.planning.service import request_confirmation, request_plan
from sync_app.targets import connection_check
from sync_app.targets import service as targets
from sync_app.targets.connection_check import Report, identify_answering_system
from sync_app.views.base import (
    IMPORT,
    REFUSALS,
    environments_for_new_targets,
    refused,
    require_target,
    target_urls,
)
from sync_app.views.presenters.targets import where

_SEALED: Final = (
    "Keeper tests the new credentials first. They replace the current ones only if they reach the same "
    "system. Credentials are encrypted and never shown again."
)
_SHOWN: Final[dict[str, Any]] = {
    "refusals": (InvalidField, Conflict, SyncError, KeyUnavailable, KeyRefused),
    "sentence": as_sentence,
}


@require_http_methods(["GET", "POST"])
def target_new(request: HttpRequest) -> HttpResponse:
    """Create a target: first which kind of system, then the form that it declares."""
    actor = principal_of(request)
    kind = backend_of(request.GET.get("backend", ""))
    named = request.GET.get("environment", "")
    imports = request.GET.get("purpose") == IMPORT
    if kind is None:
        return _kinds(request, actor, named, imports=imports)
    environments = Environment.objects.filter(pk__in=environments_for_new_targets(actor)).order_by(
        "position", "name"
    )
    form = TargetForm(
        request.POST or None, backend=kind, environments=environments, initial={"environment": named}
    )
    if imports:
        form.fields[
            "direction"
        ].help_text = (
            "After the import. Push sends later changes in Keeper there; Pull takes later changes from there."
        )
    report = None
    only_test = request.POST.get("act") == "test"
    if only_test:
        form.fields["name"].required = False
    if request.method == "POST" and form.is_valid():
        use_case = _test_target if only_test else _create_target
        result = attempt(form, lambda: use_case(actor, form, request.GET["backend"]), **_SHOWN)
        if isinstance(result, Report):
            report = result
        elif result is not None:
            messages.success(request, f"{result.name} created. Nothing has been written yet.")
            if imports:
                request_plan(actor=actor, target=result)
                return redirect("target-adopt", id=result.pk)
            return redirect("target-detail", id=result.pk)
    context = {
        "form": form,
        "kind": kind.label,
        "notice": kind.form_notice,
        "imports": imports,
        "report": report,
        "has_environments": environments.exists(),
    }
    return render_page(request, "sync_app/target_form.html", context)


def _kinds(request: HttpRequest, actor: Principal, named: str, *, imports: bool) -> HttpResponse:
    query = {"environment": named, **({"purpose": IMPORT} if imports else {})}
    kinds = [
        {
            "label": kind.label,
            "icon": kind.icon,
            "url": f"?{urlencode({'backend': name, **query})}",
            "name": name,
        }
        for name, kind in BACKENDS.items()
        if kind.capabilities.reads_values or not imports
    ]
    nowhere = not environments_for_new_targets(actor)
    context = {
        "title": "Import from another system" if imports else "New target",
        "question": "Choose a source" if imports else "Choose a destination",
        "kinds": kinds,
        "imports": imports,
        "nowhere": nowhere,
        "cancel_url": reverse("sync"),
    }
    return render_page(request, "sync_app/kinds.html", context)


@require_http_methods(["GET", "POST"])
def target_rules(request: HttpRequest, id: int) -> HttpResponse:
    actor, target = principal_of(request), require_target(request, id, Action.TARGET_CHANGE)
    form = RulesForm(request.POST or None, initial=RulesForm.initial_of(target), target=target)
    valid = request.method == "POST" and form.is_valid()

    def change() -> Target:
        return targets.change(actor=actor, target=target, destination=form.backend_rules, **form.rules)

    if valid and attempt(form, change, **_SHOWN):
        messages.success(request, "Rules saved. Older plans can no longer be applied.")
        return redirect("target-detail", id=id)
    return _form(request, target, form, title=f"Rules of {target.name}", label="Save rules")


@require_http_methods(["GET", "POST"])
def target_credentials(request: HttpRequest, id: int) -> HttpResponse:
    actor, target = principal_of(request), require_target(request, id, Action.TARGET_CHANGE)
    form = CredentialsForm(request.POST or None, target=target)
    if request.method == "POST" and form.is_valid():
        changed = attempt(
            form,
            lambda: targets.change_credentials(
                actor=actor, target=target, credentials=form.credentials, destination=form.changed_destination
            ),
            **_SHOWN,
        )
        if changed is not None:
            messages.success(request, "Credentials tested and replaced.")
            return redirect("target-detail", id=id)
    return _form(
        request,
        target,
        form,
        title=f"Credentials of {target.name}",
        label="Test and replace",
        told=_SEALED,
        fields=[*form.credential_fields(), *form.destination_fields()],
    )


@require_POST
def target_test(request: HttpRequest, id: int) -> HttpResponse:
    target = require_target(request, id)
    try:
        report = connection_check.test(actor=principal_of(request), target=target)
    except REFUSALS as error:
        return refused(request, error, reverse("target-detail", args=[id]))
    context = {
        "target": target,
        "environment": target.environment,
        "where": where(target),
        "report": report,
        "urls": target_urls(target),
    }
    return render_page(request, "sync_app/connection_report.html", context)


@require_http_methods(["GET", "POST"])
def target_system(request: HttpRequest, id: int) -> HttpResponse:
    """Show which system answers at a target's address, and confirm that the target is there from now on."""
    actor, target = principal_of(request), require_target(request, id, Action.TARGET_CHANGE)
    found = ""
    if request.method == "POST":
        shown = request.POST.get("system", "")
        try:
            if shown:
                request_confirmation(actor=actor, target=target, system=shown)
                messages.success(request, "System confirmed. Creating a plan.")
                return redirect("target-detail", id=id)
            found = identify_answering_system(actor=actor, target=target).system
        except REFUSALS as error:
            return refused(request, error, reverse("target-system", args=[id]))
    context = {"target": target, "environment": target.environment, "found": found}
    return render_page(request, "sync_app/target_system.html", context)


def _create_target(actor: Principal, form: TargetForm, backend: str) -> Target:
    return targets.create(
        actor=actor,
        environment=form.cleaned_data["environment"],
        name=form.cleaned_data["name"],
        backend=backend,
        destination=form.destination,
        credentials=form.credentials,
        scope=form.cleaned_data["scope"],
        only_tags=form.tags,
        **form.rules,
    )


def _test_target(actor: Principal, form: TargetForm, backend: str) -> Report:
    return connection_check.test_draft(
        actor=actor,
        environment=form.cleaned_data["environment"],
        backend=backend,
        destination=form.destination,
        credentials=form.credentials,
        direction=form.cleaned_data["direction"],
        deletion=form.cleaned_data["deletion"],
    )


def _form(
    request: HttpRequest,
    target: Target,
    form: forms.Form,
    *,
    title: str,
    label: str,
    told: str = "",
    fields: Sequence[forms.BoundField] = (),
) -> HttpResponse:
    context = {
        "form": form,
        "title": title,
        "label": label,
        "told": told,
        "fields": fields or form.visible_fields(),
        "cancel_url": reverse("target-detail", args=[target.pk]),
        "environment": target.environment,
    }
    return render_page(request, "sync_app/change.html", context)
