"""The pages of targets: the list, the secrets of one, and those of an environment at all its targets."""

from collections import Counter
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal
from environments_app.environments.service import find_environment
from environments_app.models import Environment
from environments_app.views.base import act_page, render_page
from sync_app import acts
from sync_app.forms.target import EntryFilterForm
from sync_app.models import Plan, Run, SyncEntry, Target
from sync_app.runs import runner as runs_runner
from sync_app.targets.lookup import overview_rows, overview_secrets, overview_targets, visible_targets
from sync_app.views.base import (
    IMPORT,
    REFUSALS,
    environments_for_new_targets,
    page_of,
    require_target,
    rights,
    target_urls,
)
from sync_app.views.presenters.plans import entry_rows, progress
from sync_app.views.presenters.targets import (
    STATE_ORDER,
    backend_label,
    destination_facts,
    shown_counts,
    state_counts,
    target_rows,
    where,
)

_RUNS_SHOWN: Final = 8


@require_GET
def sync_list(request: HttpRequest) -> HttpResponse:
    actor = principal_of(request)
    targets_shown = visible_targets(actor)
    named = request.GET.get("environment", "")
    if named:
        targets_shown = targets_shown.filter(environment__name=named)
    rows = target_rows(targets_shown)
    elsewhere = visible_targets(actor).exclude(environment__name=named) if named else Target.objects.none()
    context = {
        "rows": rows,
        "failing_elsewhere": elsewhere.filter(failures__gt=0).count(),
        "environment": named,
        "live": any(row.run for row in rows),
        "live_url": request.get_full_path(),
        "paused": runs_runner.all_paused(),
        "can_pause_all": actor.is_admin,
        "create_url": reverse("target-new") + (f"?environment={named}" if named else ""),
        "import_url": f"{reverse('target-new')}?{urlencode({'purpose': IMPORT, 'environment': named})}",
        "can_create": bool(environments_for_new_targets(actor)),
    }
    return render_page(
        request, "sync_app/sync_list.html", context, partial="sync_app/_targets.html", refused=False
    )


@require_POST
def pause_all(request: HttpRequest) -> HttpResponse:
    runs_runner.pause_all(actor=principal_of(request))
    messages.success(request, "Syncing paused. No target is written to until you resume.")
    return redirect("sync")


@require_POST
def resume_all(request: HttpRequest) -> HttpResponse:
    runs_runner.resume_all(actor=principal_of(request))
    messages.success(request, "Syncing resumed. Individually paused targets stay paused.")
    return redirect("sync")


@require_GET
def target_detail(request: HttpRequest, id: int) -> HttpResponse:
    actor = principal_of(request)
    target = require_target(request, id)
    form = EntryFilterForm(request.GET)
    entries, links = page_of(request, _filter_entries(target, request), by="name")
    counts = state_counts([target])[target.pk]
    latest = list(Run.objects.filter(target=target).select_related("plan")[:_RUNS_SHOWN])
    active = next((run for run in latest if run.active), None)
    context = {
        "target": target,
        "environment": target.environment,
        "where": where(target),
        "backend": backend_label(target),
        "destination": destination_facts(target),
        "counts": shown_counts(target, counts),
        "total": sum(counts.values()),
        "rows": entry_rows(entries),
        "filters": form,
        "filtered": bool(request.GET.get("q") or request.GET.get("state")),
        "runs": latest,
        "run": active,
        "progress": progress(active),
        "live": bool(active),
        "live_url": request.get_full_path(),
        "plan": Plan.objects.filter(target=target).first(),
        "paused": runs_runner.all_paused(),
        "can": rights(actor, target),
        "urls": target_urls(target),
        "removable": not counts and not SyncEntry.objects.filter(target=target).exists(),
    }
    return render_page(
        request, "sync_app/target_detail.html", context | links, partial="sync_app/_target.html"
    )


ACT_PAGES: Final = {
    act.slug: act_page(
        act,
        require_target,
        back=lambda target: reverse("target-detail", args=[target.pk]),
        after=(lambda _: reverse("sync")) if act.name == "remove" else None,
        refusals=REFUSALS,
    )
    for act in acts.TARGETS
    if act.on_page
}


def _filter_entries(target: Target, request: HttpRequest) -> QuerySet[SyncEntry]:
    entries = SyncEntry.objects.filter(target=target)
    state, text = request.GET.get("state", ""), request.GET.get("q", "")
    if state:
        entries = entries.filter(state=state)
    return entries.filter(name__contains=text) if text else entries


@require_GET
def sync_overview(request: HttpRequest) -> HttpResponse:
    actor = principal_of(request)
    places = list(
        Environment.objects.filter(pk__in=visible_targets(actor).values("environment")).order_by(
            "position", "name"
        )
    )
    named = request.GET.get("environment", "")
    environment = find_environment(actor=actor, name=named) if named else next(iter(places), None)
    context: dict[str, Any] = {
        "places": places,
        "environment": environment,
        "filters": EntryFilterForm(request.GET),
        "filtered": bool(request.GET.get("q") or request.GET.get("state")),
    }
    if environment is not None:
        context |= _matrix(request, actor, environment)
    return render_page(request, "sync_app/overview.html", context)


def _matrix(request: HttpRequest, actor: Principal, environment: Environment) -> dict[str, Any]:
    """Return the page of secrets with their states, and the numbers of each state over all targets."""
    targets = overview_targets(actor, environment)
    secrets = overview_secrets(
        actor, environment, targets, state=request.GET.get("state", ""), text=request.GET.get("q", "")
    )
    page, links = page_of(request, secrets, by="name")
    start = f"{request.path}?{urlencode({'environment': environment.name})}"
    totals: Counter[str] = Counter()
    for counts in state_counts(targets).values():
        totals.update(counts)
    return {
        "targets": targets,
        "rows": overview_rows(page, targets),
        # Those that need someone first.
        "counts": [
            (state, totals[state], f"{start}&state={state}") for state in STATE_ORDER if totals[state]
        ],
        "clear_url": start,
    } | links
