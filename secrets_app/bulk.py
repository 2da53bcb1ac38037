"""Creates many secrets at once, all or none, at the cost of one data key and a few statements."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from django.db import IntegrityError, transaction

from audit_app.actions import Action
from audit_app.canonical import Json
from audit_app.record import record_many
from environments_app.models import Environment
from environments_app.policy import Principal, require
from environments_app.principals import principal_now
from environments_app.second_person import Clearance, needs_second_person, require_second_person
from secrets_app.changes import announce, event
from secrets_app.errors import NameTaken, SecretError, TooManyItems
from secrets_app.input_errors import InvalidInput, InvalidName
from secrets_app.insertion import insert_rows
from secrets_app.metadata import Metadata, checked_comment
from secrets_app.models import Secret, SecretVersion
from secrets_app.names import validate_secret_name
from secrets_app.proposals import creating_many
from secrets_app.secret_types import SecretType
from secrets_app.versions import NewValue, sealed_version, sealing_key
from secrets_app.writing import new_secret

MAX_ITEMS: Final = 1000
# What a request for approval keeps sealed at most.
MAX_PENDING_BYTES: Final = 8 * 1024 * 1024
_NAMES_PER_QUERY: Final = 500
# How many offending items a refusal lists; the rest would only repeat them.
_MAX_REPORTED: Final = 50


@dataclass(frozen=True, kw_only=True)
class NewSecret:
    """One secret that is to be created."""

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
    """Some items break a rule; none was stored. `faults` names at most fifty of them."""

    def __init__(self, faults: Sequence[ItemFault]) -> None:
        super().__init__("Some items cannot be stored; none was.")
        self.faults = list(faults[:_MAX_REPORTED])


def create_many(*, actor: Principal, items: Sequence[NewSecret]) -> list[Secret]:
    """Create up to 1,000 secrets in one transaction; return them in the order given.

    Each has its own event. Raises TooManyItems, InvalidItems naming the offending ones,
    NameTaken if a name lives already, ApprovalNeeded, and Forbidden or Invisible.
    """
    refuse_too_many(len(items))
    secrets = _drafts(actor, items)
    clearances = _clearances(actor, items)
    versions = list(_sealed(actor, secrets, items))
    # Sealing many takes a while; who lost the right meanwhile stores none.
    _require_all(principal_now(actor), items)
    try:
        with transaction.atomic():
            approved = {place.pk: clearance.spend(place, actor=actor) for place, clearance in clearances}
            _insert(actor, secrets, versions, approved)
    except IntegrityError as error:
        taken = _taken_name(items)
        if taken is None:
            raise
        raise NameTaken(
            f"Item {taken}: the environment already has a secret of this name. None was stored."
        ) from error
    return secrets


def refuse_too_many(count: int) -> None:
    """Refuse more items than one call takes, before they are looked at. Raises TooManyItems."""
    if count > MAX_ITEMS:
        raise TooManyItems(f"Send at most {MAX_ITEMS} items in a call; this has {count}. Nothing was stored.")


def _clearances(actor: Principal, items: Sequence[NewSecret]) -> list[tuple[Environment, Clearance]]:
    """Ask a second person for each protected environment, for all that would be created there."""
    places = {item.environment.pk: item.environment for item in items}
    return [(place, _cleared(actor, place, items)) for _, place in sorted(places.items())]


def _cleared(actor: Principal, place: Environment, items: Sequence[NewSecret]) -> Clearance:
    mine = [item for item in items if item.environment.pk == place.pk]
    if needs_second_person(actor, place):
        # Refused now rather than once somebody has approved it.
        taken = _taken_name(mine)
        if taken is not None:
            raise NameTaken(f"{mine[taken].name}: the environment already has a secret of this name.")
        if sum(len(item.value.encode()) for item in mine) > MAX_PENDING_BYTES:
            raise TooManyItems(
                f"A second person approves at most {MAX_PENDING_BYTES >> 20} MiB at once: send less."
            )
    described = [(item.name, item.secret_type, item.value, item.comment, item.metadata) for item in mine]
    return require_second_person(actor=actor, proposal=creating_many(place, described))


def _drafts(actor: Principal, items: Sequence[NewSecret]) -> list[Secret]:
    """Check every item, and the right to create it."""
    faults: list[ItemFault] = []
    secrets = []
    seen: set[tuple[int, str]] = set()
    for index, item in enumerate(items):
        try:
            validate_secret_name(item.name)
            if (item.environment.pk, item.name) in seen:
                raise InvalidName("name", "An earlier item has the same name.")
            seen.add((item.environment.pk, item.name))
            checked_comment(item.comment)
            _refuse_references(item)
            secrets.append(
                new_secret(
                    environment=item.environment,
                    name=item.name,
                    secret_type=item.secret_type,
                    value=item.value,
                    metadata=item.metadata,
                )
            )
        except InvalidInput as error:
            faults.append(ItemFault(index=index, field=error.field, reason=error.reason))
    if faults:
        raise InvalidItems(faults)
    _require_all(actor, items)
    return secrets


def _require_all(actor: Principal, items: Sequence[NewSecret]) -> None:
    for item in items:
        require(actor=actor, action=Action.SECRET_CREATE, environment=item.environment, name=item.name)


def _refuse_references(item: NewSecret) -> None:
    if item.metadata.get("resolves_references"):
        raise InvalidInput("resolves_references", "What is created in bulk stays literal.")


def _sealed(
    actor: Principal, secrets: Sequence[Secret], items: Sequence[NewSecret]
) -> Iterator[SecretVersion]:
    keys = {
        secret.environment_id: sealing_key(secret)
        for secret in {s.environment_id: s for s in secrets}.values()
    }
    for secret, item in zip(secrets, items, strict=True):
        yield sealed_version(
            actor=actor,
            secret=secret,
            number=1,
            value=NewValue(text=item.value, comment=item.comment),
            data_key=keys[secret.environment_id],
        )


def _insert(
    actor: Principal,
    secrets: list[Secret],
    versions: list[SecretVersion],
    approved: Mapping[int, Mapping[str, Json]],
) -> None:
    insert_rows(secrets)
    _complete_ids(secrets)
    for secret, version in zip(secrets, versions, strict=True):
        version.secret = secret
    insert_rows(versions)
    drafts = [
        event(
            actor=actor,
            secret=version.secret,
            action=Action.SECRET_CREATE,
            details={"bulk": True, **approved[version.secret.environment_id]},
            version=version,
        )
        for version in versions
    ]
    for _, group in groupby(sorted(drafts, key=lambda draft: draft.stream), key=lambda draft: draft.stream):
        record_many(list(group))
    for environment_id in {secret.environment_id for secret in secrets}:
        announce(environment_id)


def _complete_ids(secrets: Sequence[Secret]) -> None:
    by_uuid = {secret.uuid: secret for secret in secrets}
    for uuid, pk in Secret.objects.filter(uuid__in=list(by_uuid)).values_list("uuid", "pk"):
        secret = by_uuid[uuid]
        secret.pk, secret._state.adding = pk, False


def _taken_name(items: Sequence[NewSecret]) -> int | None:
    """Return the index of the first item whose name lives already."""
    for start in range(0, len(items), _NAMES_PER_QUERY):
        chunk = items[start : start + _NAMES_PER_QUERY]
        rows = Secret.objects.filter(live=True, name__in=[item.name for item in chunk])
        taken = set(rows.values_list("environment_id", "name"))
        for index, item in enumerate(chunk, start=start):
            if (item.environment.pk, item.name) in taken:
                return index
    return None
