"""Pages of the dashboard and of charts of the audit log.

The dashboard takes as many statements for one secret as for a hundred thousand. The charts show events a
day, how they ended, of what kind, and by whom.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from audit_app.events import action_labels
from audit_app.events.actions import Action, Outcome
from audit_app.queries import search
from audit_app.queries.statistics import Kind, counts_by_day, top_actors
from core.ui import labels
from core.ui.charts import Part
from environments_app.access_requests.service import open_requests
from environments_app.authentication.drf import principal_of
from operations_app.dashboard import figures
from operations_app.dashboard.action_items import delivery_states, first_steps, needs
from operations_app.frame.navigation import Layout, frame_of
from operations_app.health.service import ailing, results, warnings
from operations_app.health.status import standings
from operations_app.system.queues import work_status
from secrets_app.queries.lookup import can_in_any_scope

_EVENTS_SHOWN: Final = 10


@require_GET
def dashboard(request: HttpRequest) -> HttpResponse:
    frame = frame_of(request)
    actor = frame.person
    states = delivery_states(actor)
    secrets = figures.secret_figures(actor)
    steps = []
    if not frame.chosen.first_steps_hidden:
        steps = first_steps(actor, environments=frame.environments, secrets=secrets["living"])
    days = counts_by_day(viewer=actor, days=figures.DAYS)
    health = [*results(), *warnings()] if actor.sees_installation else []
    systems = [*standings(actor=actor), *work_status()] if actor.sees_installation else []
    reads = figures.reads_by_environment(actor, days)
    context = {
        "needs": needs(frame, states),
        "events": search.events(viewer=actor, housekeeping=False)[:_EVENTS_SHOWN],
        "own_events": search.reads_own_alone(actor),
        "health": health,
        "has_access": bool(frame.environments),
        "requested": [] if frame.environments else open_requests(actor),
        "ailing": ailing(health, systems),
        "quick_actions": _quick_actions(frame),
        "first_steps": steps,
        "next_step": next((step for step in steps if not step.done), None),
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
    return render(request, "keeper_project/dashboard.html", context)


def _quick_actions(frame: Layout) -> list[dict[str, str]]:
    actor, actions = frame.person, []
    if any(can_in_any_scope(actor, Action.SECRET_CREATE, place) for place in frame.environments):
        actions.append({"label": "New secret", "url": frame.url_of("secret-new"), "icon": "plus", "key": "n"})
    actions.append({"label": "Search secrets", "url": frame.url_of("secret-list"), "icon": "search"})
    if actor.is_admin:
        actions.append({"label": "New environment", "url": reverse("environment-new"), "icon": "layers"})
    return actions


_ACTORS_SHOWN: Final = 8
_ACTIONS_SHOWN: Final = 8
_OUTCOME_TONES: Final = {Outcome.ALLOWED: "ok", Outcome.DENIED: "warn", Outcome.FAILED: "bad"}


@require_GET
def activity_charts(request: HttpRequest) -> HttpResponse:
    """Show the charts; two statements, however much happened."""
    actor = principal_of(request)
    days = counts_by_day(viewer=actor, days=figures.DAYS)
    total: Counter[Kind] = Counter()
    for kinds in days.values():
        total.update(kinds)
    actors = [
        Part(
            label=actor_count.name or "unknown",
            count=actor_count.events,
            url=figures.activity_url(actor=actor_count.name) if actor_count.name else "",
        )
        for actor_count in top_actors(viewer=actor, days=figures.DAYS, limit=_ACTORS_SHOWN)
    ]
    context = {
        "days": figures.DAYS,
        "total": total.total(),
        "activity": figures.activity(days),
        "activity_urls": {
            "reads": figures.activity_url(action=search.EVERY_READ),
            "denials": figures.activity_url(outcome=Outcome.DENIED),
        },
        "outcomes": _outcomes(total),
        "groups": _groups(total),
        "actions": _actions(total),
        "actors": actors,
    }
    return render(request, "keeper_project/activity_charts.html", context)


def _outcomes(total: Mapping[Kind, int]) -> list[Part]:
    counts = _sums((kind.outcome, count) for kind, count in total.items())
    return [
        Part(
            label=labels.state(outcome).word,
            count=counts[outcome],
            url=figures.activity_url(outcome=outcome),
            tone=tone,
            icon=labels.state(outcome).icon,
        )
        for outcome, tone in _OUTCOME_TONES.items()
    ]


def _groups(total: Mapping[Kind, int]) -> list[Part]:
    """Return how much of each kind of action there was; each leads to its most frequent action."""
    counts, leading = Counter[str](), dict[str, Counter[str]]()
    for kind, count in total.items():
        group = action_labels.group_of(kind.action)
        counts[group] += count
        leading.setdefault(group, Counter())[kind.action] += count
    return [
        Part(label=group, count=count, url=figures.activity_url(action=leading[group].most_common(1)[0][0]))
        for group, count in counts.most_common()
    ]


def _actions(total: Mapping[Kind, int]) -> list[Part]:
    counts = _sums((kind.action, count) for kind, count in total.items())
    return [
        Part(label=action_labels.action_name(action), count=count, url=figures.activity_url(action=action))
        for action, count in counts.most_common(_ACTIONS_SHOWN)
    ]


def _sums(pairs: Iterable[tuple[str, int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name, count in pairs:
        counts[name] += count
    return counts
