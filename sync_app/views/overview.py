"""The page of an environment's secrets at all its targets."""

from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from audit_app.pagination import KeysetPagination
from environments_app.authentication.drf import principal_of
from environments_app.environments.service import find_environment
from environments_app.models import Environment
from environments_app.views.base import render_page
from sync_app.forms.target import EntryFilterForm
from sync_app.targets.lookup import visible_targets
from sync_app.targets.overview import overview_rows, overview_secrets, overview_targets
from sync_app.views.presenters.targets import STATE_ORDER, state_counts


class _SecretOrder:
    """The order of the secrets."""

    ordering_fields = {"name": "name"}
    default_ordering = "name"
    filter_names = ("q", "state", "environment")


@login_required
@require_GET
def sync_overview(request: HttpRequest) -> HttpResponse:
    """Show the state of each secret at each target of one environment."""
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
        targets = overview_targets(actor, environment)
        secrets = overview_secrets(
            actor, environment, targets, state=request.GET.get("state", ""), text=request.GET.get("q", "")
        )
        paginator = KeysetPagination()
        page = paginator.paginate_queryset(secrets, request, view=_SecretOrder())
        counts = state_counts(targets)
        context |= {
            "targets": targets,
            "rows": overview_rows(page, targets),
            "counts": _total_counts(counts.values(), environment),
            "next_url": paginator.get_next_link(),
            "previous_url": paginator.get_previous_link(),
            "clear_url": f"{request.path}?{urlencode({'environment': environment.name})}",
        }
    return render_page(request, "sync_app/overview.html", context)


def _total_counts(each: Any, environment: Environment) -> list[tuple[str, int, str]]:
    """Return (state, count, address of exactly those) over all targets, those that need someone first."""
    totals: dict[str, int] = {}
    for counts in each:
        for state, count in counts.items():
            totals[state] = totals.get(state, 0) + count
    start = f"{reverse('sync-overview')}?environment={environment.name}&state="
    return [(state, totals[state], f"{start}{state}") for state in STATE_ORDER if totals.get(state)]
