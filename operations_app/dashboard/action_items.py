"""What there is to do: pending tasks, and the first steps of a new installation.

Each task is counted by one statement and lies one click from its remedy. The first steps are an
environment, a secret, a token, its read by a program, and a target. A step counts as done when its object
exists, the read when a token was used; nothing else is stored.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final

from django.db.models import Count, Exists, OuterRef, Q
from django.urls import reverse

from audit_app.checkpoints import schedule as checkpoints_schedule
from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, environments_for, grants_allow
from environments_app.models import Environment, NoticeKind, PersonalToken, ServiceToken
from environments_app.tokens.expiry_alerts import expiring, listed_tokens, unused
from operations_app.backup import service as backup
from operations_app.frame.navigation import Layout
from operations_app.inbox.items import open_alerts
from secrets_app.queries.filters import narrow
from secrets_app.queries.lookup import visible_secrets
from sync_app.jobs.leases import database_now
from sync_app.models import SyncEntry
from sync_app.rotation.lookup import visible_policies
from sync_app.rotation.status import status_condition
from sync_app.targets.lookup import visible_targets

_DELIVERIES: Final = {
    "conflict": "in conflict with target",
    "failed": "failed to sync",
    "missing": "missing in target",
    "ownership_lost": "ownership lost in target",
    "drifted": "drifted from target",
}

_ALERTS_NAMED: Final = 3


@dataclass(frozen=True, kw_only=True)
class ActionItem:
    """Something that waits for the person; `count` is None where there is nothing to count."""

    label: str
    state: str
    url: str
    count: int | None = None


def needs(frame: Layout, states: Mapping[str, int]) -> list[ActionItem]:
    """Return what waits for the person of a page and they may know of, most pressing kinds first.

    `states` is what `delivery_states` found.
    """
    actor = frame.person
    items = chain(
        _approvals(frame),
        _alerts(actor),
        _deliveries(states),
        _rotations(actor),
        _dates(actor),
        _tokens(actor),
        _operations(actor),
    )
    return [need for need in items if need.count != 0]


def delivery_states(actor: Principal) -> dict[str, int]:
    """Return the number of visible secrets in each delivery state; one statement."""
    # Asked of each entry: a list of all that may be seen would be made even where nothing is delivered.
    secrets = visible_secrets(actor).order_by().filter(uuid=OuterRef("secret_uuid"))
    rows = (
        SyncEntry.objects.filter(Exists(secrets), target__live=True)
        .order_by()
        .values_list("state")
        .annotate(count=Count("secret_uuid", distinct=True))
    )
    return dict(rows)


def _approvals(frame: Layout) -> Iterator[ActionItem]:
    url = reverse("approval-list")
    yield ActionItem(label="awaiting your approval", state="asked", url=url, count=len(frame.waiting))
    requests = "access request" if len(frame.asking) == 1 else "access requests"
    yield ActionItem(label=requests, state="asked", url=url, count=len(frame.asking))
    yield ActionItem(label="approved, ready to apply", state="approved", url=url, count=len(frame.ready))
    # It needs no action: it is listed here, with its comment there, until it was seen.
    address = f"{reverse('notices')}#{NoticeKind.APPROVALS}-title"
    yield ActionItem(label="requests rejected", state="refused", url=address, count=len(frame.refused))


def _alerts(actor: Principal) -> Iterator[ActionItem]:
    url = f"{reverse('notices')}#{NoticeKind.FAILURES}-title"
    alerts = open_alerts(actor).order_by("-told_at", "-id")
    titles = list(alerts.values_list("subject", "link")[: _ALERTS_NAMED + 1])
    for subject, link in titles[:_ALERTS_NAMED]:
        yield ActionItem(label=subject, state="failed", url=link or url)
    if len(titles) > _ALERTS_NAMED:
        count = alerts.count() - _ALERTS_NAMED
        label = f"more open alert{'s' * (count != 1)}"
        yield ActionItem(label=label, state="failed", url=url, count=count)


def _dates(actor: Principal) -> Iterator[ActionItem]:
    url = reverse("secret-list")
    for label, state, parameters in (
        ("expired, or expire within 30 days", "expiring", {"expiring": "30"}),
        ("rotation overdue", "overdue", {"rotation": "overdue"}),
    ):
        count = narrow(visible_secrets(actor), parameters, actor=actor).order_by().count()
        yield ActionItem(label=label, state=state, url=f"{url}?state={state}", count=count)


def _deliveries(states: Mapping[str, int]) -> Iterator[ActionItem]:
    url = reverse("secret-list")
    for state, label in _DELIVERIES.items():
        yield ActionItem(label=label, state=state, url=f"{url}?delivery={state}", count=states.get(state, 0))


def _rotations(actor: Principal) -> Iterator[ActionItem]:
    stopped = visible_policies(actor).filter(status_condition("failed", database_now())).count()
    url = f"{reverse('rotation')}?state=failed"
    yield ActionItem(label="rotations failed", state="stopped", url=url, count=stopped)


def _tokens(actor: Principal) -> Iterator[ActionItem]:
    tokens, url = listed_tokens(actor).select_related(None), reverse("token-list")
    for label, state, rows in (
        ("tokens expiring soon", "expiring", expiring(tokens)),
        ("unused tokens", "unused", unused(tokens)),
    ):
        yield ActionItem(label=label, state=state, url=f"{url}?state={state}", count=rows.count())


def _operations(actor: Principal) -> Iterator[ActionItem]:
    if not actor.is_admin:
        return
    if backup.is_late(backup.last_success()):
        yield ActionItem(label="no recent backup", state="overdue", url=reverse("backups"))
    for problem in checkpoints_schedule.problems():
        yield ActionItem(label=problem, state="failed", url=f"{reverse('admin-audit')}?tab=verification")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step; `url` leads to where it is done."""

    title: str
    why: str
    done: bool
    url: str
    label: str


def first_steps(actor: Principal, *, environments: list[Environment], secrets: int) -> list[Step]:
    """Return the steps for a user who may do all of them somewhere, until each is done; else none."""
    place = _managed(actor, environments)
    if place is None and not (actor.is_admin and not environments):
        return []
    steps = [
        Step(
            title="Create an environment",
            why="Group secrets with their own members, tokens and encryption keys.",
            done=bool(environments),
            url=reverse("environment-new"),
            label="New environment",
        )
    ]
    if place is not None:
        steps += _inside(actor, place, secrets)
    return [] if all(step.done for step in steps) else steps


def _inside(actor: Principal, place: Environment, secrets: int) -> list[Step]:
    query = f"?environment={place.name}"
    tokens = listed_tokens(actor)
    newest = tokens.order_by("-pk").first()
    return [
        Step(
            title="Add a secret",
            why="Encrypted at rest. Every reveal is logged.",
            done=bool(secrets),
            url=reverse("secret-new") + query,
            label="New secret",
        ),
        Step(
            title="Issue a service token",
            why="Let an app or CI job read secrets.",
            done=newest is not None,
            url=reverse("environment-detail", args=[place.name]) + "#tokens",
            label="Issue a token",
        ),
        Step(
            title="Read the secret from a program",
            why="Run the command on the secret's page with the token. It appears under Activity.",
            done=tokens.filter(last_used_at__isnull=False).exists() or _reads_by_person(place),
            url=_use_of_a_secret(actor, newest, place),
            label="Show the command",
        ),
        Step(
            title="Connect a sync target",
            why="Sync to other systems, such as AWS, GitHub or Vault. Review a plan before anything changes.",
            done=visible_targets(actor).exists(),
            url=reverse("target-new") + query,
            label="New target",
        ),
    ]


def _reads_by_person(place: Environment) -> bool:
    """Return whether a member of an environment has used a personal token that opens it, as kpr does."""
    user = Q(user__memberships__environment=place) | Q(user__groups__memberships__environment=place)
    reaches = Q(environment=None) | Q(environment=place)
    return PersonalToken.objects.filter(user, reaches, last_used_at__isnull=False).exists()


def _use_of_a_secret(actor: Principal, token: ServiceToken | None, place: Environment) -> str:
    """Return where a page shows how the token reads a secret; or the list of secrets while there is none."""
    secrets = visible_secrets(actor).filter(environment=token.environment_id if token else place.pk)
    if token and token.prefix:
        secrets = secrets.filter(name__startswith=f"{token.prefix}/")
    first = secrets.values_list("pk", flat=True).first()
    return reverse("secret-detail", args=[first]) + "#use-title" if first else reverse("secret-list")


def _managed(actor: Principal, environments: list[Environment]) -> Environment | None:
    """Return the first environment in which the actor may take every step, by their own grants."""
    if environments_for(actor, Action.TOKEN_ISSUE) is None:
        return None
    manages = (
        place for place in environments if grants_allow(actor, Action.TARGET_CREATE, environment_id=place.pk)
    )
    return next(manages, None)
