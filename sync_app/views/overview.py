"""The page of an environment's secrets at all its targets."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from audit_app.pagination import KeysetPagination
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal
from environments_app.environments.service import find_environment
from environments_app.models import Environment
from environments_app.views.base import render_page
from sync_app.forms.target import EntryFilterForm
from sync_app.models import Target
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
        context |= _matrix(request, actor, environment)
    return render_page(request, "sync_app/overview.html", context)


def _matrix(request: HttpRequest, actor: Principal, environment: Environment) -> dict[str, Any]:
    """Return the page of secrets with their states, and the numbers of each state over all targets."""
    targets = overview_targets(actor, environment)
    secrets = overview_secrets(
        actor, environment, targets, state=request.GET.get("state", ""), text=request.GET.get("q", "")
    )
    paginator = KeysetPagination()
    page = paginator.paginate_queryset(secrets, request, view=_SecretOrder())
    start = f"{request.path}?{urlencode({'environment': environment.name})}"
    return {
        "targets": targets,
        "rows": overview_rows(page, targets),
        "counts": _total_counts(targets, start),
        "next_url": paginator.get_next_link(),
        "previous_url": paginator.get_previous_link(),
        "clear_url": start,
    }


def _total_counts(targets: Sequence[Target], start: str) -> list[tuple[str, int, str]]:
    """Return (state, count, address of exactly those) over all targets, those that need someone first."""
    totals: Counter[str] = Counter()
    for counts in state_counts(targets).values():
        totals.update(counts)
    return [(state, totals[state], f"{start}&state={state}") for state in STATE_ORDER if totals[state]]
