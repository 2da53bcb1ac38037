"""Outlets: what lets values, names or events out of Keeper, or workloads in, as somebody chose.

Whoever leaves may still receive by a target, webhook, address or sink that they set up, or sign in by a
trust. settings.KEEPER_OUTLETS lists the kinds by dotted path. The audit log tells who set up a row, and who
gave it its address or credentials last; for what it archived, a row's own "added by" tells it.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.module_loading import import_string

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import ActorKind
from audit_app.models import AuditEvent
from core.canonical_json import parsed_details
from core.db.bulk import in_batches
from environments_app.authorization.credential_custody import NARROWS, CustodyGraph
from environments_app.models import Environment, EventSink, Recipient, Trust, User
from secrets_app.models import Webhook, WebhookStyle


@dataclass(frozen=True, kw_only=True)
class OutletKind:
    """Rows of one kind, and the events that chose where they lead.

    `chooses` is asked about the details of an event. With `each`, every such event counts, not only the
    first and the last, and also those of accounts that the person could use.
    """

    label: Callable[[Any], str]
    rows: Callable[[], QuerySet[Any]]
    actions: frozenset[Action]
    link: Callable[[Any], str]
    chooses: Callable[[Mapping[str, Any]], bool] = lambda _: True
    is_live: Callable[[Any], bool] = lambda _: True
    is_paused: Callable[[Any], bool] = lambda _: False
    each: bool = False


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


@dataclass(frozen=True)
class _Choice:
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
            made = choices[row.uuid]
            for person in people:
                if _is_of(person, row, kind, made, hands):
                    found[person.uuid].append(_outlet(kind, row, made))
    return found


def _choices(kind: OutletKind, rows: Sequence[Any]) -> dict[UUID, list[_Choice]]:
    """Return who chose where each row leads, the oldest choice first."""
    found: dict[UUID, list[_Choice]] = defaultdict(list)
    for batch in in_batches([row.uuid for row in rows]):
        events = AuditEvent.objects.filter(
            object_uuid__in=batch, action__in=kind.actions, outcome=Outcome.ALLOWED
        ).order_by("id")
        for uuid, actor_kind, actor, name, details in events.values_list(
            "object_uuid", "actor_kind", "actor_uuid", "actor_name", "details"
        ):
            if kind.chooses(parsed_details(details)):
                found[uuid].append(_Choice(actor_kind, actor, name))
    return found


def _is_of(person: User, row: Any, kind: OutletKind, made: Sequence[_Choice], hands: CustodyGraph) -> bool:
    if kind.each:
        return bool(row.created_by_id == person.pk) or any(
            person.uuid in hands.behind(choice.actor, environment=row.environment) for choice in made
        )
    if not made:
        return bool(getattr(row, "created_by", "") == person.username)
    return any(_is_by(person, choice, row, hands) for choice in (made[0], made[-1]))


def _is_by(person: User, choice: _Choice, row: Any, hands: CustodyGraph) -> bool:
    """Return whether a person chose it, themselves or by a token that they have seen."""
    if choice.kind != ActorKind.TOKEN:
        return choice.actor == UUID(str(person.uuid))
    return person.uuid in hands.behind(choice.actor, environment=getattr(row, "environment", None))


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
    )


def _notices(row: Any) -> str:
    return reverse("notifications", args=[row.environment.name])


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
    each=True,
)
KINDS: Final = (RECIPIENTS, WEBHOOKS, SINKS, TRUSTS)


@cache
def outlet_kinds() -> tuple[OutletKind, ...]:
    """Return the configured kinds."""
    return tuple(kind for path in settings.KEEPER_OUTLETS for kind in import_string(path))
