"""The dashboard: what needs someone, what is kept, what happened, and whether all is well."""

from collections import Counter
from datetime import date, timedelta
from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.db.models import Count, QuerySet
from django.db.models.functions import TruncDate
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from audit_app import search
from audit_app.actions import Action, Outcome
from audit_app.models import AuditEvent
from environments_app.authentication import principal_of
from environments_app.models import Environment, Membership, ServiceToken
from environments_app.policy import Principal, environments_for, visible_environments
from keeper_project.health import results, warnings
from secrets_app.filters import narrow
from secrets_app.finding import visible_secrets

_DAYS: Final = 30
_EVENTS_SHOWN: Final = 10
_READS: Final = frozenset({Action.SECRET_REVEAL, Action.SECRET_EXPORT, Action.SECRET_COMPARE})
# On the page of all activity, not among the latest: they follow from acts that are listed.
_HOUSEKEEPING: Final = (Action.STREAM_OPEN, Action.CONFIGURATION_CHANGE)


@login_required
@require_GET
def dashboard(request: HttpRequest) -> HttpResponse:
    """Show the dashboard."""
    actor = principal_of(request)
    events = search.events(viewer=actor)
    context = {
        "needs": _needs(actor),
        "counts": _counts(actor),
        "activity": _activity(events),
        "events": events.exclude(action__in=_HOUSEKEEPING)[:_EVENTS_SHOWN],
        "health": [*results(), *warnings()],
        "quick_actions": _quick_actions(actor),
    }
    return render(request, "keeper_project/dashboard.html", context)


def _needs(actor: Principal) -> list[dict[str, Any]]:
    """Return what waits for someone, each with the list of exactly those."""
    url = reverse("secret-list")
    found = []
    for label, state, parameters, query in (
        ("expire within 30 days", "expiring", {"expiring": "30"}, "state=expiring"),
        ("rotation overdue", "overdue", {"rotation": "overdue"}, "state=overdue"),
        ("in conflict with a target", "conflict", {"delivery": "conflict"}, "delivery=conflict"),
        ("not delivered", "failed", {"delivery": "failed"}, "delivery=failed"),
        ("gone from a target", "missing", {"delivery": "missing"}, "delivery=missing"),
        ("changed in a target", "drifted", {"delivery": "drifted"}, "delivery=drifted"),
    ):
        count = narrow(visible_secrets(actor), parameters).count()
        if count:
            found.append({"label": label, "count": count, "state": state, "url": f"{url}?{query}"})
    return found


def _counts(actor: Principal) -> list[dict[str, Any]]:
    environments = Environment.objects.filter(visible_environments(actor))
    managed = reverse("environment-list")
    counts: list[tuple[str, QuerySet[Any], str]] = [
        ("secrets", visible_secrets(actor), reverse("secret-list")),
        ("environments", environments, managed),
    ]
    kept_in: list[tuple[str, QuerySet[Any], Action]] = [
        ("memberships", Membership.objects.all(), Action.MEMBER_VIEW),
        ("service tokens", ServiceToken.objects.filter(revoked_at=None), Action.TOKEN_VIEW),
    ]
    for label, rows, action in kept_in:
        places = environments_for(actor, action)
        if places is not None:
            kept = rows.filter(environment__in=Environment.objects.filter(places))
            counts.append((label, kept, managed))
    return [{"label": label, "count": rows.count(), "url": url} for label, rows, url in counts]


def _activity(events: QuerySet[AuditEvent]) -> list[dict[str, Any]]:
    """Return reads, writes and denials of each of the last 30 days, the quiet ones included."""
    today = timezone.now().date()
    first = today - timedelta(days=_DAYS - 1)
    rows = (
        events.filter(at__date__gte=first)
        .order_by()
        .annotate(day=TruncDate("at"))
        .values_list("day", "action", "outcome")
        .annotate(count=Count("id"))
    )
    tally: Counter[tuple[date, str]] = Counter()
    for day, action, outcome, count in rows:
        tally[day, _kind(action, outcome)] += count
    days = [first + timedelta(days=offset) for offset in range(_DAYS)]
    kinds = ("reads", "writes", "denials")
    return [{"day": day, **{kind: tally[day, kind] for kind in kinds}} for day in days]


def _kind(action: str, outcome: str) -> str:
    """Return the line of the chart that an event belongs to; what is on none of them is "other"."""
    if outcome == Outcome.DENIED:
        return "denials"
    if not action.startswith("secret."):
        return "other"
    return "reads" if action in _READS else "writes"


def _quick_actions(actor: Principal) -> list[dict[str, str]]:
    actions = []
    if actor.grants:
        actions.append({"label": "New secret", "url": reverse("secret-new"), "icon": "plus"})
    actions.append({"label": "Find a secret", "url": reverse("secret-list"), "icon": "search"})
    if actor.is_admin:
        actions.append({"label": "New environment", "url": reverse("environment-new"), "icon": "layers"})
    return actions
