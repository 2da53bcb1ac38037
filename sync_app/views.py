"""The pages of targets: thin over the use cases; nothing here connects but what says so."""

from collections.abc import Callable
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit_app.actions import Action
from audit_app.listing import list_paginator
from environments_app.authentication import principal_of
from environments_app.current import enter
from environments_app.errors import AccessError, Conflict, Forbidden, InvalidField, Invisible
from environments_app.models import Environment
from environments_app.policy import Principal, allows
from secrets_app.errors import KeyRefused, KeyUnavailable
from sync_app import connection_test, runs, targets
from sync_app.backends import BACKENDS
from sync_app.connection_test import Report
from sync_app.errors import BackendError, BadDestination, SyncError
from sync_app.finding import find_target, require_on, visible_targets
from sync_app.forms import CredentialsForm, EntryFilterForm, RulesForm, TargetForm, backend_of
from sync_app.models import Plan, Run, SyncEntry, Target
from sync_app.page_rows import (
    backend_label,
    progress,
    sentence,
    shown_counts,
    state_counts,
    target_rows,
    where,
)

# What a person can mend, and is told on the page where they asked.
REFUSALS: Final = (SyncError, AccessError, KeyUnavailable, KeyRefused)
_RUNS_SHOWN: Final = 8
_RIGHTS: Final = {
    "plan": Action.TARGET_PLAN,
    "apply": Action.TARGET_APPLY,
    "change": Action.TARGET_CHANGE,
    "pause": Action.TARGET_PAUSE,
    "test": Action.TARGET_TEST,
    "adopt": Action.TARGET_ADOPT,
    "remove": Action.TARGET_REMOVE,
}


class _EntryOrder:
    """The order of a target's secrets."""

    ordering_fields = {"name": "name"}
    default_ordering = "name"
    filter_names = ("q", "state")


@login_required
@require_GET
def sync_list(request: HttpRequest) -> HttpResponse:
    """List the targets that one may see, and how the secrets stand there."""
    actor = principal_of(request)
    found = visible_targets(actor)
    named = request.GET.get("environment", "")
    if named:
        found = found.filter(environment__name=named)
    rows = target_rows(found)
    context = {
        "rows": rows,
        "environment": named,
        "live": any(row.run for row in rows),
        "live_url": request.get_full_path(),
        "paused": runs.all_paused(),
        "can_pause_all": actor.is_admin,
        "create_url": reverse("target-new") + (f"?environment={named}" if named else ""),
        "can_create": bool(_makeable(actor)),
    }
    partial = request.headers.get("HX-Request") and not request.headers.get("HX-Boosted")
    return render(request, "sync_app/_targets.html" if partial else "sync_app/sync_list.html", context)


@login_required
@require_POST
def pause_all(request: HttpRequest) -> HttpResponse:
    """Pause the sync everywhere."""
    runs.pause_all(actor=principal_of(request))
    messages.success(request, "All of the sync is paused: nothing is written until it is resumed.")
    return redirect("sync")


@login_required
@require_POST
def resume_all(request: HttpRequest) -> HttpResponse:
    """Resume the sync everywhere."""
    runs.resume_all(actor=principal_of(request))
    messages.success(request, "The sync goes on. Targets that were paused one by one stay so.")
    return redirect("sync")


@login_required
@require_http_methods(["GET", "POST"])
def target_new(request: HttpRequest) -> HttpResponse:
    """Create a target: first which kind of system, then the form that it declares."""
    actor = principal_of(request)
    kind = backend_of(request.GET.get("backend", ""))
    named = request.GET.get("environment", "")
    if kind is None:
        kinds = [
            {"label": each.label, "url": f"?backend={name}&environment={named}", "name": name}
            for name, each in BACKENDS.items()
        ]
        return render(request, "sync_app/target_kinds.html", {"kinds": kinds, "cancel_url": reverse("sync")})
    environments = Environment.objects.filter(pk__in=_makeable(actor)).order_by("position", "name")
    form = TargetForm(
        request.POST or None, backend=kind, environments=environments, initial={"environment": named}
    )
    report = None
    only_test = request.POST.get("act") == "test"
    if only_test:
        form.fields["name"].required = False
    if request.method == "POST" and form.is_valid():
        use_case = _tested if only_test else _created
        done = _attempt(form, lambda: use_case(actor, form, request.GET["backend"]))
        if isinstance(done, Report):
            report = done
        elif done is not None:
            messages.success(request, f"{done.name} was created. Nothing has been written there yet.")
            return redirect("target-detail", id=done.pk)
    context = {
        "form": form,
        "kind": kind.label,
        "report": report,
        "cancel_url": reverse("sync"),
        "has_environments": environments.exists(),
    }
    return render(request, "sync_app/target_form.html", context, status=422 if form.errors else 200)


@login_required
@require_GET
def target_detail(request: HttpRequest, id: int) -> HttpResponse:
    """Show a target: how each secret stands there, what runs, and its rules."""
    actor = principal_of(request)
    target = found_target(request, id)
    form = EntryFilterForm(request.GET)
    paginator = list_paginator()
    entries = paginator.paginate_queryset(_narrowed(target, request), request, view=_EntryOrder())
    counts = state_counts([target])[target.pk]
    latest = list(Run.objects.filter(target=target).select_related("plan")[:_RUNS_SHOWN])
    active = next((run for run in latest if run.active), None)
    context = {
        "target": target,
        "environment": target.environment,
        "where": where(target),
        "backend": backend_label(target),
        "counts": shown_counts(target, counts),
        "total": sum(counts.values()),
        "entries": entries,
        "filters": form,
        "filtered": bool(request.GET.get("q") or request.GET.get("state")),
        "next_url": paginator.get_next_link(),
        "previous_url": paginator.get_previous_link(),
        "runs": latest,
        "run": active,
        "progress": progress(active),
        "live": bool(active),
        "live_url": request.get_full_path(),
        "plan": Plan.objects.filter(target=target).first(),
        "paused": runs.all_paused(),
        "can": rights(actor, target),
        "urls": target_urls(target),
        "removable": not counts and not SyncEntry.objects.filter(target=target).exists(),
    }
    enter(request, target.environment)
    partial = request.headers.get("HX-Request") and not request.headers.get("HX-Boosted")
    return render(request, "sync_app/_target.html" if partial else "sync_app/target_detail.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def target_rules(request: HttpRequest, id: int) -> HttpResponse:
    """Change the rules of a target."""
    actor, target = principal_of(request), found_target(request, id, Action.TARGET_CHANGE)
    form = RulesForm(request.POST or None, initial=RulesForm.initial_of(target))
    valid = request.method == "POST" and form.is_valid()
    if valid and _attempt(form, lambda: targets.change(actor=actor, target=target, **form.rules)):
        messages.success(request, "The rules were saved. Plans made under the old ones are void.")
        return redirect("target-detail", id=id)
    return _form(request, target, form, title=f"Rules of {target.name}", label="Save rules")


@login_required
@require_http_methods(["GET", "POST"])
def target_credentials(request: HttpRequest, id: int) -> HttpResponse:
    """Replace the credentials of a target."""
    actor, target = principal_of(request), found_target(request, id, Action.TARGET_CHANGE)
    form = CredentialsForm(request.POST or None, target=target)
    if request.method == "POST" and form.is_valid():
        changed = _attempt(
            form,
            lambda: targets.change_credentials(
                actor=actor,
                target=target,
                credentials=form.credentials,
                destination=form.changed_destination,
            ),
        )
        if changed is not None:
            messages.success(request, "The new credentials work, and replace the old ones.")
            return redirect("target-detail", id=id)
    return _form(
        request, target, form, title=f"Credentials of {target.name}", label="Test and replace", sealed=True
    )


@login_required
@require_POST
def target_test(request: HttpRequest, id: int) -> HttpResponse:
    """Try a target, and show what answers and which permission is missing."""
    target = found_target(request, id)
    try:
        report = connection_test.test(actor=principal_of(request), target=target)
    except REFUSALS as error:
        return refused(request, error, reverse("target-detail", args=[id]))
    context = {
        "target": target,
        "environment": target.environment,
        "where": where(target),
        "report": report,
        "urls": target_urls(target) | {"target": reverse("target-detail", args=[id])},
    }
    enter(request, target.environment)
    return render(request, "sync_app/connection_report.html", context)


@login_required
@require_POST
def target_pause(request: HttpRequest, id: int) -> HttpResponse:
    """Pause a target."""
    return _act(request, id, targets.pause, "It is paused: nothing is written there until it is resumed.")


@login_required
@require_POST
def target_resume(request: HttpRequest, id: int) -> HttpResponse:
    """Resume a target."""
    return _act(request, id, targets.resume, "It goes on with the next pass.")


@login_required
@require_POST
def target_remove(request: HttpRequest, id: int) -> HttpResponse:
    """Remove a target that nothing is left at."""
    actor, target = principal_of(request), found_target(request, id)
    try:
        targets.remove(actor=actor, target=target)
    except REFUSALS as error:
        return refused(request, error, reverse("target-detail", args=[id]))
    messages.success(request, f"{target.name} was removed; its destination is free again.")
    return redirect("sync")


def found_target(request: HttpRequest, id: int, action: Action = Action.TARGET_VIEW) -> Target:
    """Return the target of an address, for an act on it.

    Raises Invisible or Forbidden; a denial is recorded.
    """
    row = Target.objects.filter(pk=id, live=True).select_related("environment").defer("credentials").first()
    if row is None:
        raise Invisible("There is no such target.")
    target = find_target(actor=principal_of(request), environment=row.environment, id=id)
    require_on(actor=principal_of(request), action=action, target=target)
    return target


def rights(actor: Principal, target: Target) -> dict[str, bool]:
    """Return which acts a target's pages offer; the use cases ask again."""
    return {
        name: allows(actor, action, environment_id=target.environment_id, name=str(target.scope))
        for name, action in _RIGHTS.items()
    }


def target_urls(target: Target) -> dict[str, str]:
    """Return the addresses of what can be done with a target."""
    names = (
        "plan", "sync", "check", "rules", "credentials", "test", "pause", "resume", "adopt", "disconnect",
        "remove",
    )  # fmt: skip
    return {name: reverse(f"target-{name}", args=[target.pk]) for name in names}


def refused(request: HttpRequest, error: Exception, url: str) -> HttpResponse:
    """Say why something was not done, on the page where it was asked for.

    What one may not do, or not see, answers as everywhere.
    """
    if isinstance(error, Forbidden | Invisible):
        raise error
    messages.error(request, sentence(error))
    return redirect(url)


def _act(request: HttpRequest, id: int, use_case: Callable[..., Any], told: str) -> HttpResponse:
    target = found_target(request, id)
    try:
        use_case(actor=principal_of(request), target=target)
    except REFUSALS as error:
        return refused(request, error, reverse("target-detail", args=[id]))
    messages.success(request, told)
    return redirect("target-detail", id=id)


def _makeable(actor: Principal) -> list[int]:
    """Return the environments in which somebody may create a target, be it under a prefix only."""
    prefixes = {(grant.environment_id, grant.prefix) for grant in actor.grants}
    return sorted(
        {
            place
            for place, prefix in prefixes
            if allows(actor, Action.TARGET_CREATE, environment_id=place, name=prefix)
        }
    )


def _created(actor: Principal, form: TargetForm, backend: str) -> Target:
    return targets.create(
        actor=actor,
        environment=form.cleaned_data["environment"],
        name=form.cleaned_data["name"],
        backend=backend,
        destination=form.destination,
        credentials=form.credentials,
        scope=form.cleaned_data["scope"],
        **form.rules,
    )


def _tested(actor: Principal, form: TargetForm, backend: str) -> Report:
    return connection_test.test_draft(
        actor=actor,
        environment=form.cleaned_data["environment"],
        backend=backend,
        destination=form.destination,
        credentials=form.credentials,
        direction=form.cleaned_data["direction"],
        deletion=form.cleaned_data["deletion"],
    )


def _narrowed(target: Target, request: HttpRequest) -> Any:
    entries = SyncEntry.objects.filter(target=target)
    state, text = request.GET.get("state", ""), request.GET.get("q", "")
    if state:
        entries = entries.filter(state=state)
    return entries.filter(name__contains=text) if text else entries


def _attempt(form: forms.Form, use_case: Callable[[], Any]) -> Any:
    """Carry out a use case; what it refuses stands on the form, which keeps what was entered."""
    try:
        return use_case()
    except (InvalidField, BadDestination) as error:
        find = getattr(form, "field_of", lambda name: name if name in form.fields else None)
        form.add_error(find(error.field), sentence(error))
    except (Conflict, BackendError, SyncError, KeyUnavailable, KeyRefused) as error:
        form.add_error(None, sentence(error))
    return None


def _form(
    request: HttpRequest, target: Target, form: forms.Form, *, title: str, label: str, sealed: bool = False
) -> HttpResponse:
    context = {
        "form": form,
        "title": title,
        "label": label,
        "sealed": sealed,
        "target": target,
        "environment": target.environment,
        "cancel_url": reverse("target-detail", args=[target.pk]),
    }
    enter(request, target.environment)
    return render(request, "sync_app/target_change.html", context, status=422 if form.errors else 200)
