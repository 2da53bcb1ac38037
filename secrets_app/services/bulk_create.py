"""Creates many secrets at once, all or none, at the cost of one data key and a few statements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.recording import event_store
from audit_app.recording.recorder import record_many
from core.canonical_json import Json
from core.db.identity import ordered_uuids
from core.errors import Kind
from environments_app.approvals.gate import (
    ApprovalGrant,
    require_approval,
    unneeded_approval,
)
from environments_app.authorization.policy import Principal, allows, require
from environments_app.authorization.principals import refresh_principal
from environments_app.models import Environment
from secrets_app.errors import InvalidInput, InvalidName, NameTaken, SecretError, StaleVersion, TooManyItems
from secrets_app.keys.data_keys import active_key
from secrets_app.models import Secret
from secrets_app.queries.lookup import find_withdrawn_among
from secrets_app.rows.bulk_insert import CreatedSecret, Described, NewRow, NewRows, insert_rows
from secrets_app.rows.store import notify_listeners
from secrets_app.services.proposals import creating_many
from secrets_app.types.registry import SecretType, inspect
from secrets_app.values.metadata import Metadata, checked_comment, checked_metadata, effective_expiry
from secrets_app.values.names import validate_secret_name
from secrets_app.values.versions import first_numbers, guarded_names, guards_as_before

MAX_ITEMS: Final = 1000
# What a request for approval keeps sealed at most.
MAX_PENDING_BYTES: Final = 8 * 1024 * 1024
_NAMES_PER_QUERY: Final = 500
# How many offending items a refusal lists; the rest would only repeat them.
_MAX_REPORTED: Final = 50

_COMES_BACK: Final = (
    "A deleted version of this secret is kept. Create it alone: it comes back with its versions."
)
# A row, and what made it.
Made: TypeAlias = tuple[NewRows, NewRow]


@dataclass(frozen=True, kw_only=True)
class NewSecret:
    """One secret to create."""

    environment: Environment
    name: str
    secret_type: SecretType
    value: str = field(repr=False)
    comment: str = ""
    metadata: Metadata = field(default_factory=Metadata)


@dataclass(frozen=True, kw_only=True)
class ItemFault:
    """What is wrong with one item: its place in the list, the field, and why."""

    index: int
    field: str
    reason: str


class InvalidItems(SecretError):
    """Some items break a rule; none was stored. `items` names at most fifty of them."""

    problem = Kind(400, "Some items are not valid")

    def __init__(self, faults: Sequence[ItemFault]) -> None:
        super().__init__("Some items cannot be stored; none was.")
        self.items = list(faults[:_MAX_REPORTED])

    def faults(self) -> list[dict[str, Any]]:
        return [{"item": each.index, "field": each.field, "reason": each.reason} for each in self.items]


def create_many(*, actor: Principal, items: Sequence[NewSecret]) -> list[CreatedSecret]:
    """Create up to 1,000 secrets in one transaction; return them in the order given.

    Each environment gets one event, whose manifest lists its secrets (ADR 22).

    Raises TooManyItems, InvalidItems naming the offending ones, NameTaken if a name lives already,
    StaleVersion if a secret of a name was deleted meanwhile, ApprovalNeeded, and Forbidden or Invisible.
    """
    refuse_too_many(len(items))
    described = _described(items)
    _require_all(actor, items)
    places = {item.environment.id: item.environment for item in items}
    numbers = _numbers(places, items)
    clearances = [(place, _cleared(actor, place, items)) for _, place in sorted(places.items())]
    made = _sealed(actor, described, items, numbers)
    # Sealing many takes a while; who lost the right in the meantime stores none.
    _require_all(refresh_principal(actor), items)
    try:
        with transaction.atomic():
            approved = {place.pk: clearance.consume(place, actor=actor) for place, clearance in clearances}
            return _insert(made, approved)
    except IntegrityError as error:
        taken = _taken_name(items)
        if taken is None:
            raise
        raise NameTaken(f"Item {taken}: a secret with this name already exists. None was stored.") from error


def refuse_too_many(count: int) -> None:
    """Refuse more items than one call takes, before they are looked at. Raises TooManyItems."""
    if count > MAX_ITEMS:
        raise TooManyItems(f"Send at most {MAX_ITEMS} items in a call; this has {count}. Nothing was stored.")


def _cleared(actor: Principal, place: Environment, items: Sequence[NewSecret]) -> ApprovalGrant:
    if unneeded := unneeded_approval(actor, place):
        return unneeded
    mine = [item for item in items if item.environment.id == place.pk]
    # Refused now, not after an approval.
    taken = _taken_name(mine)
    if taken is not None:
        raise NameTaken(f"{mine[taken].name}: a secret with this name already exists.")
    if sum(len(item.value.encode()) for item in mine) > MAX_PENDING_BYTES:
        raise TooManyItems(
            f"A second person approves at most {MAX_PENDING_BYTES >> 20} MiB at once: send less."
        )
    described = [(item.name, item.secret_type, item.value, item.comment, item.metadata) for item in mine]
    return require_approval(actor=actor, proposal=creating_many(place, described))


def _described(items: Sequence[NewSecret]) -> list[Described]:
    faults: list[ItemFault] = []
    described = []
    seen: set[tuple[int, str]] = set()
    for index, item in enumerate(items):
        try:
            validate_secret_name(item.name)
            if (item.environment.id, item.name) in seen:
                raise InvalidName("name", "An earlier item has the same name.")
            seen.add((item.environment.id, item.name))
            checked_comment(item.comment)
            _refuse_references(item)
            facts = inspect(item.secret_type, item.value)
            about = checked_metadata(item.metadata) if item.metadata else {}
            about["expires_at"] = effective_expiry(about.get("expires_at"), after=facts)
            described.append(Described(item.name, item.secret_type, facts, **about))
        except InvalidInput as error:
            faults.append(ItemFault(index=index, field=error.field, reason=error.reason))
    if faults:
        raise InvalidItems(faults)
    return described


def _require_all(actor: Principal, items: Sequence[NewSecret]) -> None:
    whole = {
        place
        for place in {item.environment.id for item in items}
        if allows(actor, Action.SECRET_CREATE, environment_id=place)
    }
    for item in items:
        # Who may create everywhere in an environment is not asked about again for each name.
        if item.environment.id not in whole:
            require(actor=actor, action=Action.SECRET_CREATE, environment=item.environment, name=item.name)


def _refuse_references(item: NewSecret) -> None:
    if item.metadata.get("uses_references"):
        raise InvalidInput("uses_references", "What is created in bulk stays literal.")


def _numbers(places: Mapping[int, Environment], items: Sequence[NewSecret]) -> dict[int, dict[str, int]]:
    """Return by environment the first numbers that follow those of deleted secrets.

    Raises InvalidItems for names whose secret a new value brings back: that is a change of its own.
    """
    numbers = {
        pk: first_numbers(place, [item.name for item in items if item.environment.id == pk])
        for pk, place in places.items()
    }
    back = {
        (pk, name)
        for pk, names in numbers.items()
        if names
        for name in find_withdrawn_among(places[pk], [*names])
    }
    faults = [
        ItemFault(index=index, field="name", reason=_COMES_BACK)
        for index, item in enumerate(items)
        if (item.environment.id, item.name) in back
    ]
    if faults:
        raise InvalidItems(faults)
    return numbers


def _sealed(
    actor: Principal,
    described: Sequence[Described],
    items: Sequence[NewSecret],
    numbers: Mapping[int, Mapping[str, int]],
) -> list[Made]:
    """Return the rows of all items; may call KMS."""
    now = timezone.now()
    makers = {
        pk: NewRows(actor=actor, environment=place, data_key=active_key(place), at=now)
        for pk, place in {item.environment.id: item.environment for item in items}.items()
    }
    # A name that no deleted secret had is guarded by its path alone.
    guarded = {
        pk: guarded_names(maker.environment, [*numbers[pk]]) if numbers[pk] else set()
        for pk, maker in makers.items()
    }
    # Two runs, so that both indexes grow at their ends.
    uuids, version_uuids = ordered_uuids(len(items)), ordered_uuids(len(items))
    made = []
    for item, about, secret, version in zip(items, described, uuids, version_uuids, strict=True):
        maker = makers[item.environment.id]
        row = maker.made(
            about,
            value=item.value,
            comment=item.comment,
            secret=secret,
            version=version,
            number=numbers[item.environment.id].get(item.name, 1),
            guarded=item.name in guarded[item.environment.id] or item.environment.guards(item.name),
        )
        made.append((maker, row))
    return made


def _insert(made: Sequence[Made], approved: Mapping[int, Mapping[str, Json]]) -> list[CreatedSecret]:
    ids = insert_rows([row for _, row in made])
    stored: dict[NewRows, list[NewRow]] = {}
    for maker, row in made:
        stored.setdefault(maker, []).append(row)
    for maker, rows in stored.items():
        numbers = first_numbers(maker.environment, [row.described.name for row in rows])
        if any(numbers.get(row.described.name, 1) > row.number for row in rows):
            raise StaleVersion("A secret was deleted meanwhile. None was stored. Try again.")
        unguarded = [row.described.name for row in rows if not row.secret["guarded"]]
        if numbers and guarded_names(maker.environment, unguarded):
            raise StaleVersion("A guarded secret was deleted meanwhile. None was stored. Try again.")
        if numbers and find_withdrawn_among(maker.environment, [*numbers], made=ids):
            raise StaleVersion("A version was deleted meanwhile. None was stored. Try again.")
    drafts = [maker.event(rows, approved[rows[0].environment.id]) for maker, rows in stored.items()]
    # In one order, so that two calls do not wait for each other's streams.
    for maker, draft in sorted(zip(stored, drafts, strict=True), key=lambda pair: pair[1].stream):
        unchanged = [guards_as_before(maker.environment)]
        record_many([draft], locked=event_store.lock_head(draft.stream, unchanged))
    for place in approved:
        notify_listeners(place, [row.described.name for _, row in made if row.environment.id == place])
    return [maker.created(row, pk) for (maker, row), pk in zip(made, ids, strict=True)]


def _taken_name(items: Sequence[NewSecret]) -> int | None:
    """Return the index of the first item whose name lives already."""
    for start in range(0, len(items), _NAMES_PER_QUERY):
        chunk = items[start : start + _NAMES_PER_QUERY]
        rows = Secret.objects.filter(live=True, name__in=[item.name for item in chunk])
        taken = set(rows.values_list("environment_id", "name"))
        for index, item in enumerate(chunk, start=start):
            if (item.environment.id, item.name) in taken:
                return index
    return None
