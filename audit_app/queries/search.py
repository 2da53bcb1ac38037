"""Finds events: by who, what, where and when, also in the manifests of acts on many."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias, TypedDict, Unpack
from uuid import UUID

from django.db.models import Q, QuerySet

from audit_app.events import action_labels
from audit_app.events.actions import HOUSEKEEPING, READS, Action, Outcome
from audit_app.events.actors import Actor, ActorKind
from audit_app.interfaces import audit_log_policy
from audit_app.models import AuditEvent, ReadManifestItem, SearchEntry
from audit_app.models.search_index import EventQuerySet
from audit_app.queries import search_index
from core.canonical_json import parsed_details


def read_versions(events: Sequence[AuditEvent], **item: object) -> Mapping[int, Sequence[int]]:
    """Return the numbers of the versions that each event is about, by the id of the event, newest first.

    `item` names the secret as manifests do, by `secret_uuid` or `name`. One statement, and none where no
    event has a manifest.
    """
    manifests = {event.manifest_id for event in events if event.manifest_id is not None}
    numbers: dict[int, list[int]] = defaultdict(list)
    if manifests:
        items = ReadManifestItem.objects.filter(manifest_id__in=manifests, **item).order_by("-number")
        for manifest, number in items.values_list("manifest_id", "number"):
            numbers[manifest].append(number)
    return {
        event.pk: _of_one(event) if event.manifest_id is None else numbers.get(event.manifest_id, ())
        for event in events
    }


def _of_one(event: AuditEvent) -> Sequence[int]:
    number = parsed_details(event.details).get("number")
    return (number,) if isinstance(number, int) else ()


# What lists call every act for which values are opened.
EVERY_READ: Final = "reads"
_FEW: Final = 500
_UNINDEXED: Final = "__unindexed"
# So many events of each condition are looked at for a search over everything.
_LOOKED_AT: Final = 200
_LAST_CHARACTER: Final = "\U0010ffff"
# Takes where the columns are: "" for events, "entry__" for their rows in the search table.
_Condition: TypeAlias = Callable[[str], Q]


class Named(TypedDict, total=False):
    """Conditions that the search table has indexes for.

    `text` is how the name of an object or actor begins, or all of an address or request id. An object is
    also found in the manifests of reads of many.
    """

    outcome: str | None
    actor_name: str
    object_name: str
    address: str
    request_id: str
    text: str


class Found(NamedTuple):
    """The events of a search, and how many events the search table lacked for it."""

    events: QuerySet[AuditEvent]
    behind: int


def find(*, viewer: Actor, **wanted: Any) -> Found:
    """Return what `events` does, after adding to the search table what it lacks, if that is little."""
    if reads_own_alone(viewer):
        wanted.setdefault("actor", viewer.uuid)
    behind = search_index.catch_up() if goes_by_index(**wanted) else 0
    return Found(events(viewer=viewer, **wanted), behind)


def reads_own_alone(viewer: Actor) -> bool:
    """Return whether a person may read no stream: what they did themselves they may see all the same."""
    return viewer.kind is ActorKind.USER and audit_log_policy().readable_streams(viewer) == []


def events(
    *,
    viewer: Actor,
    actor: UUID | None = None,
    action: Action | None = None,
    actions: Collection[Action] = (),
    stream: str = "",
    object_uuid: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    environment: str = "",
    housekeeping: bool = True,
    **named: Unpack[Named],
) -> QuerySet[AuditEvent]:
    """Return the events that match all that is given, newest first, of what `viewer` may read.

    A person reads what they did themselves in every stream, but of denied acts only those on what they may
    know: all that is found for one who may read no stream, and for others where `actor` names them.
    `actions` are those of which one will do. An object is also found in the manifests of acts on many.
    `since` is inclusive and `until` exclusive; `environment` is a name. Without `housekeeping`, what
    Keeper did on the way is left out, unless it failed. If `goes_by_index`, events that the
    search table lacks are not found. "Newest" goes by id, which pages cheaply and no MAC covers: verification
    holds it to the order within a stream, and nothing may be concluded from it.
    """
    if actor is None and reads_own_alone(viewer):
        actor = viewer.uuid
    by_index = goes_by_index(actor=actor, object_uuid=object_uuid, **named)
    is_narrow = by_index or bool(actor or object_uuid)
    is_own = viewer.kind is ActorKind.USER and actor == viewer.uuid
    # A name of an environment that is none of theirs finds nothing.
    place = audit_log_policy().named_streams(viewer).get(environment, "") if environment else stream
    readable = None if is_own else audit_log_policy().readable_streams(viewer)
    acts = [action] if action else sorted(actions)
    act, compared, wanted = (
        (_UNINDEXED, _UNINDEXED, Q()) if is_narrow else _by_acts([place] if place else readable, acts)
    )
    own = Q(actor_kind=ActorKind.USER)
    of_streams = Q() if readable is None else Q(**{f"stream{compared}__in": readable})
    wanted &= own & audit_log_policy().own_events(viewer) if is_own else of_streams
    exact = {"actor_uuid": actor, f"action{act}": action, f"stream{compared}": stream}
    for lookup, value in exact.items():
        if value:
            wanted &= Q(**{lookup: value})
    if actions:
        wanted &= Q(**{f"action{act}__in": sorted(actions)})
    if since or until:
        wanted &= within(since, until, compared)
    if object_uuid is not None:
        wanted &= about(object_uuid)
    if environment:
        wanted &= Q(**{f"stream{compared}": place})
    if not housekeeping:
        wanted &= ~Q(action__unindexed__in=sorted(HOUSEKEEPING), outcome=Outcome.ALLOWED)
    return matching(AuditEvent.objects.filter(wanted), by_index=by_index, **named)


def matching(
    found: EventQuerySet[AuditEvent], *, by_index: bool, **named: Unpack[Named]
) -> EventQuerySet[AuditEvent]:
    """Narrow events further, newest first; `by_index` finds them by the search table.

    Each condition is required of the event itself as well, so that a row of the search table which SQL
    changed shows no event in answer to what it does not match.
    """
    conditions = [_NAMED[name](value) for name, value in named.items() if value]
    for condition in conditions:
        found = found.filter(condition(""))
    if not by_index:
        return found.order_by("-pk")
    entries = Q()
    for condition in conditions:
        entries &= condition("entry__")
    return found.searched(entries)


def newest_beginning(*, viewer: Actor, text: str, most: int) -> tuple[list[AuditEvent], bool]:
    """Return the newest events that a text finds, and whether there may be more than were looked at.

    It finds what `events` does by `text`, at a cost that does not grow with the audit log: the newest of an
    address, a request id and a whole name, and of names that begin so those that come last in their order.
    """
    if reads_own_alone(viewer):
        return list(events(viewer=viewer, text=text)[:most]), False
    found: set[int] = set()
    exact = [{column: text} for column in ("address", "request_id", "actor_name", "object_name")]
    for condition in exact:
        entries = SearchEntry.objects.filter(**condition).order_by("-event_id")
        found.update(entries.values_list("event_id", flat=True)[:_LOOKED_AT])
    is_capped = False
    for column in ("actor_name", "object_name"):
        entries = SearchEntry.objects.filter(begins(column, text)).order_by(f"-{column}", "-event_id")
        ids = list(entries.values_list("event_id", flat=True)[:_LOOKED_AT])
        is_capped |= len(ids) == _LOOKED_AT
        found.update(ids)
    readable = audit_log_policy().readable_streams(viewer)
    rows = AuditEvent.objects.filter(pk__in=found)
    if readable is not None:
        rows = rows.filter(**{f"stream{_UNINDEXED}__in": readable})
    # Each row of the search table, which no MAC covers, is held to the event itself.
    return list(rows.filter(_beginning(text)("")).order_by("-pk")[:most]), is_capped


def goes_by_index(
    *, actor: UUID | None = None, object_uuid: UUID | None = None, outcome: str | None = None, **named: Any
) -> bool:
    """Return whether `events` finds the events of these conditions by the search table.

    A uuid narrows better, and allowed events are nearly all.
    """
    if actor or object_uuid:
        return False
    is_rare = bool(outcome) and outcome != Outcome.ALLOWED
    return is_rare or any(named.get(name) for name in _NAMED)


def acts(text: str) -> dict[str, Action | Collection[Action]]:
    """Return the acts that a list names in its address, in the words of `events`.

    It names one, a group of them by its heading, or EVERY_READ.
    """
    if text == EVERY_READ:
        return {"actions": READS}
    if text in action_labels.HEADINGS:
        return {"actions": {act for act in Action if action_labels.group_of(act) == text}}
    return {"action": Action(text)} if text else {}


def _by_acts(streams: Collection[str] | None, acts: Collection[Action]) -> tuple[str, str, Q]:
    """Return by which lookups to compare action and stream, and the ids of what is found where it is little.

    The index of streams and acts answers both together. In the order of a list, an act is else looked for
    through all of it in other streams, and a group of acts through all of the stream.
    """
    if streams is None or not acts:
        return "", _UNINDEXED if len(acts) == 1 else "", Q()
    if len(streams) == len(acts) == 1:
        return "", "", Q()
    both = AuditEvent.objects.filter(stream__in=streams, action__in=acts).order_by()
    few = list(both.values_list("id", flat=True)[: _FEW + 1])
    if len(few) <= _FEW:
        return _UNINDEXED, _UNINDEXED, Q(id__in=few)
    return ("", _UNINDEXED, Q()) if len(acts) == 1 else (_UNINDEXED, "", Q())


def within(since: datetime | None, until: datetime | None, compared: str) -> Q:
    """Return the condition of a time; where few events are that old, their ids, found by the index of times.

    Beside a stream, databases go by the index of streams, in the order of the list, and so through all of
    a stream for a time in which nothing or little happened: seconds at a million events.
    """
    bounds = {"gte": since, "lt": until}

    def time(column: str) -> Q:
        return Q(**{f"{column}__{bound}": moment for bound, moment in bounds.items() if moment})

    ids = AuditEvent.objects.filter(time("at")).order_by("at").values_list("id", flat=True)
    few = list(ids[: _FEW + 1])
    return Q(id__in=few) if len(few) <= _FEW else time(f"at{compared}")


def _equal(column: str) -> Callable[[str], _Condition]:
    return lambda value: lambda prefix: Q(**{f"{prefix}{column}": value})


def _of_object(name: str) -> _Condition:
    along = _manifests(name=name)
    return lambda prefix: Q(**{f"{prefix}object_name": name}) | _in_manifests(along, prefix)


def _beginning(text: str) -> _Condition:
    def condition(prefix: str) -> Q:
        names = begins(f"{prefix}object_name", text) | begins(f"{prefix}actor_name", text)
        return names | Q(**{f"{prefix}address": text}) | Q(**{f"{prefix}request_id": text})

    return condition


def begins(column: str, text: str) -> Q:
    """Return the condition that a column begins so: a range, which an index answers on every database."""
    return Q(**{f"{column}__gte": text, f"{column}__lt": text + _LAST_CHARACTER})


_NAMED: Final[Mapping[str, Callable[[Any], _Condition]]] = {
    "outcome": _equal("outcome"),
    "actor_name": _equal("actor_name"),
    "address": _equal("address"),
    "request_id": _equal("request_id"),
    "object_name": _of_object,
    "text": _beginning,
}


def about(uuid: UUID) -> Q:
    """Return the condition of an object, alone or in a manifest; where its events are few, their ids.

    Beside the streams that a viewer may read, SQLite goes by the index of streams through all their events.
    """
    own, along = Q(object_uuid=uuid), _in_manifests(_manifests(secret_uuid=uuid), "")
    ids: list[int] = []
    for condition in (own, along):
        matching_events = AuditEvent.objects.filter(condition).order_by()
        ids += matching_events.values_list("id", flat=True)[: _FEW + 1]
    return Q(id__in=ids) if len(ids) <= _FEW else own | along


def _in_manifests(manifests: "Manifests", prefix: str) -> Q:
    return Q(**{f"{prefix}manifest_id__in": manifests})


def _manifests(**item: object) -> "Manifests":
    """Return the manifests that name an item: their ids if they are few, which databases plan better."""
    ids = ReadManifestItem.objects.filter(**item).order_by().values_list("manifest_id", flat=True).distinct()
    few = list(ids[: _FEW + 1])
    return few if len(few) <= _FEW else ids


Manifests: TypeAlias = "Collection[int] | QuerySet[ReadManifestItem, int]"
