"""Outlets: what lets values, names or events out of Keeper, or programs in, as somebody chose.

Whoever leaves may still receive by a target, webhook, address or sink that they set up, hold the text of a
service token, or sign in by a trust. settings.KEEPER_OUTLETS lists the kinds by dotted path. The audit log
tells who set up a row, and who gave it its address or credentials last; for what it archived, a row's own
"added by" tells it.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import F, QuerySet
from django.urls import reverse
from django.utils.module_loading import import_string

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import ActorKind
from audit_app.models import AuditEvent
from core.canonical_json import parsed_details
from core.db.bulk import in_batches
from environments_app.authorization.credential_custody import NARROWS, CustodyGraph
from environments_app.models import Environment, EventSink, Recipient, ServiceToken, Trust, User
from secrets_app.models import Webhook, WebhookStyle


@dataclass(frozen=True, kw_only=True)
class OutletKind:
    """Rows of one kind, and the events that chose where they lead.

    `chooses` is asked about the details of an event: the first and the last that it takes count. `programs`:
    programs read by it, so each counts, and also those of accounts that the person could use.
    `has_few_events`: a row has hardly more events than these.
    """

    label: Callable[[Any], str]
    rows: Callable[[], QuerySet[Any]]
    actions: frozenset[Action]
    link: Callable[[Any], str]
    chooses: Callable[[Mapping[str, Any]], bool] = lambda _: True
    is_live: Callable[[Any], bool] = lambda _: True
    is_paused: Callable[[Any], bool] = lambda _: False
    programs: bool = False
    has_few_events: bool = False


@dataclass(frozen=True, kw_only=True)
class Outlet:
    """A row that a person set up, or whose address or credentials they chose last."""

    kind: str
    uuid: UUID
    name: str
    environment: Environment | None
    link: str
    # Names, as of then.
    made_by: str
    chosen_by: str
    is_paused: bool
    # Since when programs could read by it; None where none do.
    reads_since: datetime | None = None


@dataclass(frozen=True)
class _Choice:
    event: int
    kind: str
    actor: UUID
    name: str


def outlets_of(
    people: Collection[User], hands: CustodyGraph, *, places: QuerySet[Environment] | None = None
) -> dict[UUID, list[Outlet]]:
    """Return the outlets of people by their uuids, by kind and place; in `places` alone, if given.

    The number of statements does not depend on how many people there are.
    """
    found: dict[UUID, list[Outlet]] = {person.uuid: [] for person in people}
    if not people:
        return found
    for kind in outlet_kinds():
        rows = kind.rows()
        if kind is not SINKS:
            rows = rows.filter(environment__deleted_at=None)
            rows = rows if places is None else rows.filter(environment__in=places)
        elif places is not None:
            continue
        live = [row for row in rows if kind.is_live(row)]
        choices = _choices(kind, live)
        hands.learn({each.actor for made in choices.values() for each in made})
        for row in live:
            made = choices.get(row.uuid, [])
            owners = _owners(row, kind, made, hands)
            for person in people:
                if person.uuid in owners or _is_marked(row, kind, made, person):
                    found[person.uuid].append(_outlet(kind, row, made))
    return found


def _choices(kind: OutletKind, rows: Sequence[Any]) -> dict[UUID, list[_Choice]]:
    """Return who chose where each row leads, the oldest choice first.

    The acts are few. A target or trust has an event of each of its runs or sign-ins, which are not read.
    """
    found: dict[UUID, list[_Choice]] = defaultdict(list)
    about = "object_uuid__in" if kind.has_few_events else "object_uuid__unindexed__in"
    for batch in in_batches([row.uuid for row in rows]):
        events = AuditEvent.objects.filter(
            **{about: batch}, action__in=kind.actions, outcome=Outcome.ALLOWED
        ).order_by("id")
        for event, uuid, actor_kind, actor, name, details in events.values_list(
            "id", "object_uuid", "actor_kind", "actor_uuid", "actor_name", "details"
        ):
            if actor_kind != ActorKind.SYSTEM and kind.chooses(parsed_details(details)):
                found[uuid].append(_Choice(event, actor_kind, actor, name))
    return found


def _owners(row: Any, kind: OutletKind, made: Sequence[_Choice], hands: CustodyGraph) -> set[UUID]:
    """Return who chose where a row leads, by themselves or by what they could act as at that time."""
    place = getattr(row, "environment", None)
    owners: set[UUID] = set()
    for choice in made if kind.programs else (*made[:1], *made[-1:]):
        if kind.programs or choice.kind == ActorKind.TOKEN:
            owners |= hands.behind(choice.actor, environment=place, before=choice.event)
        else:
            owners.add(choice.actor)
    return owners


def _is_marked(row: Any, kind: OutletKind, made: Sequence[_Choice], person: User) -> bool:
    """Return whether the row itself names the person, for events that are archived."""
    if kind.programs:
        return bool(row.created_by_id == person.pk)
    return not made and bool(getattr(row, "created_by", "") == person.username)


def _outlet(kind: OutletKind, row: Any, made: Sequence[_Choice]) -> Outlet:
    return Outlet(
        kind=kind.label(row),
        uuid=row.uuid,
        name=str(row),
        environment=getattr(row, "environment", None),
        link=kind.link(row),
        made_by=made[0].name if made else str(getattr(row, "created_by", None) or ""),
        chosen_by=made[-1].name if made else "",
        is_paused=kind.is_paused(row),
        reads_since=row.created_at if kind.programs else None,
    )


def _notices(row: Any) -> str:
    return reverse("notifications", args=[row.environment.name])


def _token_page(row: ServiceToken) -> str:
    if row.environment:
        return reverse("token-detail", args=[row.environment.name, row.pk])
    return reverse("admin:environments_app_servicetoken_change", args=[row.pk])


_CREATED: Final = frozenset({Action.NOTIFICATION_CREATE})
RECIPIENTS: Final = OutletKind(
    label=lambda _: "Email recipient",
    rows=lambda: Recipient.objects.select_related("environment").order_by("environment__name", "email"),
    actions=_CREATED,
    link=_notices,
)
WEBHOOKS: Final = OutletKind(
    label=lambda row: "Change webhook" if row.style == WebhookStyle.CHANGES else "Alert webhook",
    rows=lambda: Webhook.objects.select_related("environment").order_by("environment__name", "name"),
    actions=_CREATED,
    link=_notices,
)
SINKS: Final = OutletKind(
    label=lambda _: "Event sink",
    rows=lambda: EventSink.objects.order_by("name"),
    actions=frozenset({Action.SINK_CHANGE}),
    link=lambda row: reverse("admin:environments_app_eventsink_change", args=[row.pk]),
)
TRUSTS: Final = OutletKind(
    label=lambda _: "Trust",
    rows=lambda: Trust.objects.select_related("environment").order_by("environment__name", "name"),
    actions=frozenset({Action.TRUST_CREATE, Action.TRUST_CHANGE}),
    link=lambda row: reverse("trust-detail", args=[row.environment.name, row.pk]),
    chooses=lambda details: details.get(NARROWS) is not True,
    is_live=lambda row: bool(row.is_live),
    programs=True,
)
TOKENS: Final = OutletKind(
    label=lambda row: "SCIM token" if row.scim_client_uuid else "Service token",
    # Those of workloads live for minutes, by their trusts; children live by their parents. Who has a SCIM
    # token enables accounts, so these come first.
    rows=lambda: (
        ServiceToken.objects.filter(revoked_at=None, trust_uuid=None, parent_uuid=None, decoy=None)
        .select_related("environment")
        .order_by(F("scim_client_uuid").asc(nulls_last=True), "environment__name", "name", "pk")
    ),
    # Of which a program may have made many for its children.
    actions=frozenset({Action.TOKEN_ISSUE}),
    link=_token_page,
    is_live=lambda row: bool(row.is_live),
    programs=True,
    has_few_events=True,
)
KINDS: Final = (TOKENS, TRUSTS, RECIPIENTS, WEBHOOKS, SINKS)


@cache
def outlet_kinds() -> tuple[OutletKind, ...]:
    """Return the configured kinds."""
    return tuple(kind for path in settings.KEEPER_OUTLETS for kind in import_string(path))
