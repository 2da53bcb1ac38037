"""The page of the dashboard; its statements are as many for one secret as for a hundred thousand."""

from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from audit_app import search
from audit_app.actions import Action, Outcome
from audit_app.day_counts import counts_by_day
from environments_app.authentication import principal_of
from environments_app.policy import Principal
from keeper_project.dashboard import figures
from keeper_project.dashboard.needs import delivery_states, needs
from keeper_project.health import results, warnings

_EVENTS_SHOWN: Final = 10
# On the page of all activity, not among the latest: they follow from acts that are listed.
_HOUSEKEEPING: Final = (Action.STREAM_OPEN, Action.CONFIGURATION_CHANGE)


@login_required
@require_GET
def dashboard(request: HttpRequest) -> HttpResponse:
    """Show the dashboard."""
    actor = principal_of(request)
    states = delivery_states(actor)
    context = {
        "needs": needs(actor, states),
        "events": search.events(viewer=actor).exclude(action__in=_HOUSEKEEPING)[:_EVENTS_SHOWN],
        "health": [*results(), *warnings()],
        "quick_actions": _quick_actions(actor),
        **_charts(actor, states),
    }
    return render(request, "keeper_project/dashboard.html", context)


def _charts(actor: Principal, states: dict[str, int]) -> dict[str, Any]:
    secrets = figures.secret_figures(actor)
    days = counts_by_day(viewer=actor, days=figures.DAYS)
    return {
        "figures": figures.figures(actor, secrets),
        "days": figures.DAYS,
        "activity": figures.activity(days),
        "activity_urls": {
            "reads": figures.activity_url(action=Action.SECRET_REVEAL),
            "denials": figures.activity_url(outcome=Outcome.DENIED),
        },
        "reads": figures.reads_by_environment(actor, days),
        "ages": figures.ages(secrets),
        "deliveries": figures.deliveries(states),
        "has_secrets": bool(secrets["living"]),
        "has_deliveries": bool(states),
    }


def _quick_actions(actor: Principal) -> list[dict[str, str]]:
    actions = []
    if actor.grants:
        actions.append({"label": "New secret", "url": reverse("secret-new"), "icon": "plus"})
    actions.append({"label": "Find a secret", "url": reverse("secret-list"), "icon": "search"})
    if actor.is_admin:
        actions.append({"label": "New environment", "url": reverse("environment-new"), "icon": "layers"})
    return actions
