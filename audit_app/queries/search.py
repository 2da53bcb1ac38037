"""Finds events: by who, what, where and when, also in the manifests of acts on many."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import Q, QuerySet

from audit_app.crypto.canonical_json import parsed_details
from audit_app.events.actions import READS, Action, Outcome
from audit_app.events.actors import Actor
from audit_app.interfaces.access_policy import trail_policy
from audit_app.models import AuditEvent, ReadManifestItem


def read_versions(events: Sequence[AuditEvent], **item: object) -> Mapping[int, Sequence[int]]:
    """Return the numbers of the versions that each event is about, by the id of the event, newest first.

    `item` names the secret as manifests do, by `secret_uuid` or `name`. One statement, and none where no
    event has a manifest.
    """
    manifests = {event.manifest_id for event in events if event.manifest_id is not None}
    found: dict[int, list[int]] = defaultdict(list)
    if manifests:
        items = ReadManifestItem.objects.filter(manifest_id__in=manifests, **item).order_by("-number")
        for manifest, number in items.values_list("manifest_id", "number"):
            found[manifest].append(number)
    return {
        event.pk: _of_one(event) if event.manifest_id is None else found.get(event.manifest_id, ())
        for event in events
    }


def _of_one(event: AuditEvent) -> Sequence[int]:
    number = parsed_details(event.details).get("number")
    return (number,) if isinstance(number, int) else ()


# What lists call every act for which values are opened.
EVERY_READ: Final = "reads"
_FEW: Final = 500
_LAST_CHARACTER: Final = "\U0010ffff"


def events(
    *,
    viewer: Actor,
    actor: UUID | None = None,
    actor_name: str = "",
    action: Action | None = None,
    actions: Collection[Action] = (),
    outcome: Outcome | None = None,
    stream: str = "",
    object_uuid: UUID | None = None,
    object_name: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    address: str = "",
    request_id: str = "",
    environment: str = "",
    text: str = "",
) -> QuerySet[AuditEvent]:
    """Return the events that match all that is given, newest first, of what `viewer` may read.

    `actions` are those of which one will do. An object is also found in the manifests of acts on many.
    `since` is inclusive and `until` exclusive; `environment` is a name; `text` is how the name of an object
    or actor begins, or all of an address or request id. "Newest" goes by id, which pages cheaply and no
    MAC covers: verification holds it to the order within a stream, and nothing may be concluded from it.
    """
    wanted = _readable(viewer)
    exact = {
        "actor_uuid": actor,
        "actor_name": actor_name,
        "action": action,
        "outcome": outcome,
        "stream": stream,
        "address": address,
        "request_id": request_id,
    }
    for lookup, value in exact.items():
        if value:
            wanted &= Q(**{lookup: value})
    if actions:
        wanted &= Q(action__in=sorted(actions))
    if since or until:
        wanted &= _within(since, until)
    if object_uuid is not None:
        wanted &= _about(object_uuid)
    if object_name:
        wanted &= Q(object_name=object_name) | _read_along(name=object_name)
    if environment:
        # A name that is none of theirs finds nothing.
        wanted &= Q(stream=trail_policy().named_streams(viewer).get(environment))
    if text:
        names = _begins("object_name", text) | _begins("actor_name", text)
        wanted &= names | Q(address=text) | Q(request_id=text)
    return AuditEvent.objects.filter(wanted).order_by("-id")


def acts(text: str) -> dict[str, Action | Collection[Action]]:
    """Return the act that a list names in its address, or EVERY_READ, in the words of `events`."""
    if text == EVERY_READ:
        return {"actions": READS}
    return {"action": Action(text)} if text else {}


def _readable(viewer: Actor) -> Q:
    names = trail_policy().readable_streams(viewer)
    return Q() if names is None else Q(stream__in=names)


def _within(since: datetime | None, until: datetime | None) -> Q:
    """Return the condition of a time; where few events are that old, their ids, found by the index of times.

    Beside a stream, databases go by the index of streams, in the order of the list, and so through all of
    a stream for a time in which nothing or little happened: seconds at a million events.
    """
    bounds = {"at__gte": since, "at__lt": until}
    time = Q(**{lookup: moment for lookup, moment in bounds.items() if moment})
    ids = AuditEvent.objects.filter(time).order_by("at").values_list("id", flat=True)
    few = list(ids[: _FEW + 1])
    return Q(id__in=few) if len(few) <= _FEW else time


def _begins(column: str, text: str) -> Q:
    """Return the condition that a column begins so: a range, which an index answers on every database."""
    return Q(**{f"{column}__gte": text, f"{column}__lt": text + _LAST_CHARACTER})


def _about(uuid: UUID) -> Q:
    """Return the condition of an object, alone or in a manifest; where its events are few, their ids.

    Beside the streams that a viewer may read, SQLite goes by the index of streams through all their events.
    """
    own, along = Q(object_uuid=uuid), _read_along(secret_uuid=uuid)
    ids: list[int] = []
    for condition in (own, along):
        found = AuditEvent.objects.filter(condition).order_by()
        ids += found.values_list("id", flat=True)[: _FEW + 1]
    return Q(id__in=ids) if len(ids) <= _FEW else own | along


def _read_along(**item: object) -> Q:
    return Q(manifest__in=ReadManifestItem.objects.filter(**item).values("manifest"))
