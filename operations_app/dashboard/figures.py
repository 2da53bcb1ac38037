"""The numbers and charts of the dashboard: secrets, their growth, and their status."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django.core.cache import cache
from django.db.models import Count, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from audit_app.events.actions import READS, Action, Outcome
from audit_app.interfaces import audit_log_policy
from audit_app.models import deployment_uuid
from audit_app.queries import search
from audit_app.queries.statistics import DayCounts
from core.ui import labels
from core.ui.charts import Part
from environments_app.authorization.policy import Principal, environments_for, visible, visible_environments
from environments_app.models import Environment, Membership
from environments_app.tokens.expiry_alerts import in_state, listed_tokens
from secrets_app.forms.secret import AGES
from secrets_app.models import Secret
from secrets_app.queries.filters import FILTERS
from sync_app.views.presenters.targets import STATE_ORDER

DAYS: Final = 30
_PLACES_SHOWN: Final = 6
_MANY: Final = 5_000
_KEPT_SECONDS: Final = 60
# The older a value is, the more it asks for attention.
_AGE_TONES: Final = ("ok", "info", "info", "warn", "bad")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number of what is kept, and by how much it changed within DAYS."""

    label: str
    count: int
    url: str
    change: int


def figures(actor: Principal, secrets: Mapping[str, int]) -> list[Figure]:
    """Return the counts of what an actor may list; `secrets` is what `secret_figures` found."""
    since = timezone.now() - timedelta(days=DAYS)
    environments = Environment.objects.filter(visible_environments(actor))
    url = reverse("environment-list")
    parts = [
        Figure(
            label=_many(secrets["living"], "secret"),
            count=secrets["living"],
            url=reverse("secret-list"),
            change=secrets["living"] - secrets["before"],
        ),
        _grown("environment", environments, url, since),
    ]
    places = environments_for(actor, Action.MEMBER_VIEW)
    if places is not None:
        members = Membership.objects.filter(environment__in=Environment.objects.filter(places))
        parts.append(_grown("membership", members, url, since))
    if environments_for(actor, Action.TOKEN_VIEW) is not None:
        parts.append(_tokens(listed_tokens(actor).select_related(None), since))
    return parts


def secret_figures(actor: Principal) -> dict[str, int]:
    """Return how many secrets live, lived DAYS ago, and have a value of each age; one statement at most.

    Counting reads all of them: from _MANY on, the result is cached for a minute, for all users with the
    same grants.
    """
    # A cache may be shared by several installations.
    text = repr((str(deployment_uuid()), actor.is_admin, actor.is_auditor, sorted(map(repr, actor.grants))))
    key = f"secret-figures-{hashlib.sha256(text.encode()).hexdigest()}"
    cached: dict[str, int] | None = cache.get(key)
    if cached is not None:
        return cached
    counts = _counted(actor)
    if counts["living"] >= _MANY:
        cache.set(key, counts, _KEPT_SECONDS)
    return counts


def _counted(actor: Principal) -> dict[str, int]:
    since = timezone.now() - timedelta(days=DAYS)
    living = Q(live=True)
    ages = {age: Count("pk", filter=living & FILTERS["age"](age)) for age in AGES}
    counts: dict[str, int] = Secret.objects.filter(visible(actor, Action.SECRET_VIEW)).aggregate(
        living=Count("pk", filter=living),
        before=Count("pk", filter=Q(created_at__lt=since) & (living | Q(deleted_at__gte=since))),
        **ages,
    )
    return counts


def ages(secrets: Mapping[str, int]) -> list[Part]:
    """Return how old values are, of what `secret_figures` found."""
    url = reverse("secret-list")
    return [
        Part(label=words, count=secrets[age], url=f"{url}?age={age}", tone=tone)
        for (age, words), tone in zip(AGES.items(), _AGE_TONES, strict=True)
    ]


def deliveries(states: Mapping[str, int]) -> list[Part]:
    """Return the delivery states of secrets, those that need action first."""
    url, parts = reverse("secret-list"), []
    for state in STATE_ORDER:
        look = labels.state(state)
        parts.append(
            Part(
                label=look.word,
                count=states.get(state, 0),
                url=f"{url}?delivery={state}",
                tone=look.tone,
                icon=look.icon,
            )
        )
    return parts


def activity(counts: DayCounts) -> list[dict[str, Any]]:
    """Return reads, writes and denials of each day, the quiet ones included."""
    days = []
    for day, kinds in counts.items():
        tally: Counter[str] = Counter()
        for kind, count in kinds.items():
            tally[_series(kind.action, kind.outcome)] += count
        days.append({"day": day, **{name: tally[name] for name in ("reads", "writes", "denials")}})
    return days


def reads_by_environment(actor: Principal, counts: DayCounts) -> list[Part]:
    """Return where values were read most, of the environments whose events an actor may read."""
    reads: Counter[str] = Counter()
    for kinds in counts.values():
        for kind, count in kinds.items():
            if _series(kind.action, kind.outcome) == "reads":
                reads[kind.stream] += count
    names = audit_log_policy().named_streams(actor)
    parts = [
        Part(label=name, count=reads[stream], url=activity_url(environment=name, action=search.EVERY_READ))
        for name, stream in names.items()
    ]
    return sorted(parts, key=lambda part: -part.count)[:_PLACES_SHOWN]


def activity_url(**filters: str) -> str:
    """Return the address of the events of the days that are shown, narrowed further."""
    since = timezone.now().date() - timedelta(days=DAYS - 1)
    return f"{reverse('activity')}?{urlencode({**filters, 'since': since.isoformat()})}"


def _many(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"


def _grown(word: str, rows: QuerySet[Any], url: str, since: datetime) -> Figure:
    counts = rows.aggregate(all=Count("pk"), new=Count("pk", filter=Q(created_at__gte=since)))
    return Figure(label=_many(counts["all"], word), count=counts["all"], url=url, change=counts["new"])


def _tokens(tokens: QuerySet[Any], since: datetime) -> Figure:
    then = Q(created_at__lt=since) & (Q(revoked_at=None) | Q(revoked_at__gte=since))
    before = tokens.filter(then, Q(expires_at=None) | Q(expires_at__gte=since)).count()
    count = in_state(tokens, "").count()
    return Figure(
        label=_many(count, "service token"), count=count, url=reverse("token-list"), change=count - before
    )


def _series(action: str, outcome: str) -> str:
    """Return the line of the chart that an event belongs to; what is on none of them is "other"."""
    if outcome == Outcome.DENIED:
        return "denials"
    if not action.startswith("secret."):
        return "other"
    return "reads" if action in READS else "writes"
