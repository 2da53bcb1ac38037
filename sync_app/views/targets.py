"""The pages of targets: the list, and one with the state of each secret there."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from audit_app.pagination import KeysetPagination
from environments_app.authentication.drf import principal_of
from environments_app.views.base import render_page
from sync_app.forms.target import EntryFilterForm
from sync_app.models import Plan, Run, SyncEntry, Target
from sync_app.runs import runner as runs_runner
from sync_app.targets import service as targets
from sync_app.targets.lookup import visible_targets
from sync_app.views.presenters.page_helpers import (
    IMPORT,
    REFUSALS,
    environments_for_new_targets,
    refused,
    require_target,
    rights,
    target_urls,
)
from sync_app.views.presenters.plans import entry_rows, progress
from sync_app.views.presenters.targets import (
    backend_label,
    destination_facts,
    shown_counts,
    state_counts,
    target_rows,
    where,
)

_RUNS_SHOWN: Final = 8


class _EntryOrder:
    """The order of a target's secrets."""

    ordering_fields = {"name": "name"}
    default_ordering = "name"
    filter_names = ("q", "state")


@login_required
@require_GET
def sync_list(request: HttpRequest) -> HttpResponse:
    """List the targets that the actor may see, with the states of their secrets."""
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
        "paused": runs_runner.all_paused(),
        "can_pause_all": actor.is_admin,
        "create_url": reverse("target-new") + (f"?environment={named}" if named else ""),
        "import_url": f"{reverse('target-new')}?{urlencode({'purpose': IMPORT, 'environment': named})}",
        "can_create": bool(environments_for_new_targets(actor)),
    }
    return render_page(
        request, "sync_app/sync_list.html", context, partial="sync_app/_targets.html", refused=False
    )


@login_required
@require_POST
def pause_all(request: HttpRequest) -> HttpResponse:
    """Pause the sync everywhere."""
    runs_runner.pause_all(actor=principal_of(request))
    messages.success(request, "Syncing paused. No target is written to until you resume.")
    return redirect("sync")


@login_required
@require_POST
def resume_all(request: HttpRequest) -> HttpResponse:
    """Resume the sync everywhere."""
    runs_runner.resume_all(actor=principal_of(request))
    messages.success(request, "Syncing resumed. Individually paused targets stay paused.")
    return redirect("sync")


@login_required
@require_GET
def target_detail(request: HttpRequest, id: int) -> HttpResponse:
    """Show a target: the state of each secret, the current run, and its rules."""
    actor = principal_of(request)
    target = require_target(request, id)
    form = EntryFilterForm(request.GET)
    paginator = KeysetPagination()
    entries = paginator.paginate_queryset(_filter_entries(target, request), request, view=_EntryOrder())
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
        "next_url": paginator.get_next_link(),
        "previous_url": paginator.get_previous_link(),
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
    return render_page(request, "sync_app/target_detail.html", context, partial="sync_app/_target.html")


@login_required
@require_POST
def target_pause(request: HttpRequest, id: int) -> HttpResponse:
    """Pause a target."""
    return _act(request, id, targets.pause, "Target paused. Nothing is written until you resume.")


@login_required
@require_POST
def target_resume(request: HttpRequest, id: int) -> HttpResponse:
    """Resume a target."""
    return _act(request, id, targets.resume, "Target resumed.")


@login_required
@require_POST
def target_remove(request: HttpRequest, id: int) -> HttpResponse:
    """Remove a target that nothing is left at."""
    actor, target = principal_of(request), require_target(request, id)
    try:
        targets.remove(actor=actor, target=target)
    except REFUSALS as error:
        return refused(request, error, reverse("target-detail", args=[id]))
    messages.success(request, f"{target.name} removed. Its destination can be used again.")
    return redirect("sync")


def _act(request: HttpRequest, id: int, use_case: Callable[..., Any], told: str) -> HttpResponse:
    target = require_target(request, id)
    try:
        use_case(actor=principal_of(request), target=target)
    except REFUSALS as error:
        return refused(request, error, reverse("target-detail", args=[id]))
    messages.success(request, told)
    return redirect("target-detail", id=id)


def _filter_entries(target: Target, request: HttpRequest) -> QuerySet[SyncEntry]:
    entries = SyncEntry.objects.filter(target=target)
    state, text = request.GET.get("state", ""), request.GET.get("q", "")
    if state:
        entries = entries.filter(state=state)
    return entries.filter(name__contains=text) if text else entries
