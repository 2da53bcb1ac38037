"""The page of the dashboard; its statements are as many for one secret as for a hundred thousand."""

from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from audit_app.events.actions import Action, Outcome
from audit_app.queries import search
from audit_app.queries.activity_stats import counts_by_day
from environments_app.authorization.policy import Principal
from keeper_project.dashboard import figures
from keeper_project.dashboard.action_items import delivery_states, needs
from keeper_project.dashboard.onboarding import first_steps
from keeper_project.health.service import results, warnings
from keeper_project.ui.navigation import Layout, frame_of
from secrets_app.queries.lookup import can_in_any_scope

_EVENTS_SHOWN: Final = 10


@login_required
@require_GET
def dashboard(request: HttpRequest) -> HttpResponse:
    """Show the dashboard."""
    frame = frame_of(request)
    actor = frame.person
    states = delivery_states(actor)
    secrets = figures.secret_figures(actor)
    steps = []
    if not frame.chosen.first_steps_hidden:
        steps = first_steps(actor, environments=frame.environments, secrets=secrets["living"])
    context = {
        "needs": needs(frame, states),
        "events": search.events(viewer=actor, housekeeping=False)[:_EVENTS_SHOWN],
        "own_events": search.reads_own_alone(actor),
        "health": [*results(), *warnings()],
        "quick_actions": _quick_actions(frame),
        "first_steps": steps,
        "next_step": next((step for step in steps if not step.done), None),
        **_charts(actor, states, secrets),
    }
    return render(request, "keeper_project/dashboard.html", context)


def _charts(actor: Principal, states: dict[str, int], secrets: dict[str, int]) -> dict[str, Any]:
    days = counts_by_day(viewer=actor, days=figures.DAYS)
    reads = figures.reads_by_environment(actor, days)
    return {
        "figures": figures.figures(actor, secrets),
        "days": figures.DAYS,
        "activity": figures.activity(days),
        "activity_urls": {
            "reads": figures.activity_url(action=search.EVERY_READ),
            "denials": figures.activity_url(outcome=Outcome.DENIED),
        },
        "reads": reads,
        "has_reads": any(part.count for part in reads),
        "ages": figures.ages(secrets),
        "deliveries": figures.deliveries(states),
        "has_secrets": bool(secrets["living"]),
        "has_deliveries": bool(states),
    }


def _quick_actions(frame: Layout) -> list[dict[str, str]]:
    actor, actions = frame.person, []
    if any(can_in_any_scope(actor, Action.SECRET_CREATE, place) for place in frame.environments):
        actions.append({"label": "New secret", "url": frame.url_of("secret-new"), "icon": "plus"})
    actions.append({"label": "Search secrets", "url": frame.url_of("secret-list"), "icon": "search"})
    if actor.is_admin:
        actions.append({"label": "New environment", "url": reverse("environment-new"), "icon": "layers"})
    return actions
