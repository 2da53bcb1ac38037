"""The page of charts of the audit log: events a day, how they ended, of what kind, and by whom."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from audit_app.events import action_labels
from audit_app.events.actions import Outcome
from audit_app.queries import search
from audit_app.queries.activity_stats import Kind, counts_by_day
from audit_app.queries.top_actors import top_actors
from environments_app.authentication.drf import principal_of
from keeper_project.dashboard import figures
from keeper_project.ui import labels
from keeper_project.ui.charts import Part

_ACTORS_SHOWN: Final = 8
_ACTIONS_SHOWN: Final = 8
_OUTCOME_TONES: Final = {Outcome.ALLOWED: "ok", Outcome.DENIED: "warn", Outcome.FAILED: "bad"}


@login_required
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
            label=each.name or "unknown",
            count=each.events,
            url=figures.activity_url(actor=each.name) if each.name else "",
        )
        for each in top_actors(viewer=actor, days=figures.DAYS, limit=_ACTORS_SHOWN)
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
