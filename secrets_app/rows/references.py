"""References `${environment/name}`: which secrets a value names, and who may write such a value.

A secret resolves them only if its writer chose so, and only when it is delivered to a target:
what is stored, shown, exported and copied is the text as it was written. `Secret.resolves_as` is
the last writer of the value, whose right to reveal each source is asked here, and again at delivery.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from django.db.models import BigIntegerField, CharField, QuerySet, Subquery

from audit_app.events.actions import Action
from core.db.bulk import in_batches
from core.db.prepared import Argument, PreparedQuery
from core.db.statements import Statement
from environments_app.authorization.policy import Principal, allows, require
from environments_app.errors import AccessError, BadName
from environments_app.models import Environment
from environments_app.names import validate_environment_name
from secrets_app.errors import InvalidInput, InvalidName, InvalidValue
from secrets_app.models import Reference, Secret
from secrets_app.queries.lookup import find_active
from secrets_app.types.registry import SecretType
from secrets_app.values.names import validate_secret_name

MAX_REFERENCES: Final = 20
# Keys and certificates have no room for a reference; in YAML, what is filled in could change the structure.
RESOLVING_TYPES: Final = frozenset(
    {SecretType.PASSWORD, SecretType.API_KEY, SecretType.TEXT, SecretType.JSON}
)
FIELD: Final = "uses_references"
# How events call the field; what is stored keeps its name.
_FIELD_IN_EVENTS: Final = "resolves_references"
_NAMES_PER_QUERY: Final = 500
_FOLLOWER_COLUMNS: Final = (
    "secret__live", "secret__resolves_as", "secret_id", "secret__environment_id",
    "secret__environment__name", "secret__name",
)  # fmt: skip
# Without a slash, as in ${HOME}, it is no reference.
_REFERENCE: Final = re.compile(r"\$\{([^{}/]*)/([^{}]*)\}")


class Place(NamedTuple):
    """Where a secret is, by names."""

    environment: str
    name: str

    @classmethod
    def of(cls, secret: Secret) -> "Place":
        return cls(secret.environment.name, secret.name)


def parse(text: str) -> list[Place]:
    """Return the secrets that a text names, each once, in the order of the text.

    Raises InvalidValue if one is malformed or there are more than 20; the reason repeats nothing.
    """
    places: dict[Place, None] = {}
    for number, match in enumerate(_REFERENCE.finditer(text), 1):
        try:
            place = Place(validate_environment_name(match[1]), validate_secret_name(match[2]))
        except (BadName, InvalidName):
            reason = f"Reference {number}: use the form ${{environment/name}}."
            raise InvalidValue("value", reason) from None
        places[place] = None
    if len(places) > MAX_REFERENCES:
        raise InvalidValue("value", f"A value names at most {MAX_REFERENCES} secrets.")
    return list(places)


def substitute(text: str, values: Mapping[Place, str], *, secret_type: SecretType) -> str:
    """Return a text with each reference replaced by its value; in JSON as the inside of a string.

    What is filled in is not looked at for references again. Raises KeyError for one without a value.
    """

    def value(match: re.Match[str]) -> str:
        found = values[Place(match[1], match[2])]
        return json.dumps(found)[1:-1] if secret_type is SecretType.JSON else found

    return _REFERENCE.sub(value, text)


def resolve_on_write(
    *, actor: Principal, secret: Secret, wanted: bool | None, value: str | None
) -> tuple[list[str], list[Place] | None]:
    """Set, on a secret that is about to be written, in whose name its references are resolved.

    `wanted` None leaves it as it is. Returns the names of the fields that changed, and the
    references to store (None: those that are stored). Raises InvalidInput if the value is needed or its
    type resolves nothing, InvalidValue if a reference is malformed, leads back here, or names
    what the actor may not reveal, which is recorded as a denial.
    """
    before = secret.resolves_as
    if not (bool(before) if wanted is None else wanted):
        secret.resolves_as = ""
        return ([_FIELD_IN_EVENTS], []) if before else ([], None)
    if value is None:
        if not before:
            raise InvalidInput(FIELD, "Give the value along, so that its references can be checked.")
        return [], None
    places = _checked(actor, secret, value)
    secret.resolves_as = f"{actor.kind}:{actor.uuid}"
    return ([_FIELD_IN_EVENTS] if secret.resolves_as != before else []), places


def store(secret: Secret, places: Sequence[Place]) -> None:
    """Store what the value names, in the transaction that writes it."""
    Reference.objects.filter(secret=secret).delete()
    Reference.objects.bulk_create(
        [Reference(secret=secret, environment=place.environment, name=place.name) for place in places]
    )


# So many names are looked for one by one; most are named by nothing.
_FEW: Final = 2


def _references() -> "QuerySet[Reference]":
    environment = Environment.objects.filter(pk=Argument(0, BigIntegerField())).order_by().values("name")
    return Reference.objects.filter(environment=Subquery(environment)).order_by()


_INTO_ENVIRONMENT: Final = PreparedQuery(lambda: _references().values_list("pk")[:1])
_TO_NAME: Final = PreparedQuery(
    lambda: _references().filter(name=Argument(1, CharField())).values_list("pk")[:1]
)


def queries_for_names(environment_id: int, names: Collection[str]) -> list[Statement]:
    """Return queries of which one has a row if a value may name one of these secrets."""
    if len(names) > _FEW:
        return [_INTO_ENVIRONMENT.statement(environment_id)]
    return [_TO_NAME.statement(environment_id, name) for name in names]


def dependent_environments(environment_id: int, names: Collection[str]) -> set[int]:
    """Return the environments whose secrets take in one of these, directly or through others."""
    environment = Environment.objects.values_list("name", flat=True).get(pk=environment_id)
    followers = _followers({Place(environment, name) for name in names})
    return {follower.environment_id for follower in followers.values()}


def secrets_that_follow(secret: Secret) -> list[Secret]:
    """Return the active secrets whose values refer to this one's, directly or through others."""
    followers = _followers({Place.of(secret)})
    return list(Secret.objects.filter(pk__in=list(followers)).select_related("environment"))


class Follower(NamedTuple):
    """A living secret that resolves references."""

    place: Place
    pk: int
    environment_id: int


def _followers(places: Collection[Place]) -> dict[int, Follower]:
    """Return the living secrets whose values take in one of these, directly or through others, by id."""
    found: dict[int, Follower] = {}
    frontier = set(places)
    while frontier:
        following = {each.pk: each for each in naming(frontier) if each.pk not in found}
        found |= following
        frontier = {each.place for each in following.values()}
    return found


def naming(places: Collection[Place]) -> Iterator[Follower]:
    """Yield each active secret whose value names one of these, without an access check.

    It has no condition on `live`: SQLite would start from all living secrets instead of the references.
    """
    wanted: dict[str, list[str]] = {}
    for place in sorted(places):
        wanted.setdefault(place.environment, []).append(place.name)
    for environment, names in wanted.items():
        for batch in in_batches(names, _NAMES_PER_QUERY):
            rows = Reference.objects.filter(environment=environment, name__in=batch).order_by()
            for live, resolves_as, pk, home, *place in rows.values_list(*_FOLLOWER_COLUMNS):
                if live and resolves_as:
                    yield Follower(Place(*place), pk, home)


def naming_visibly(actor: Principal, secret: Secret) -> tuple[list[Follower], int]:
    """Return the active secrets that name this one which the actor may see, by name, and how many more do."""
    named = sorted(naming([Place.of(secret)]))
    seen = [
        each
        for each in named
        if allows(actor, Action.SECRET_VIEW, environment_id=each.environment_id, name=each.place.name)
    ]
    return seen, len(named) - len(seen)


def _checked(actor: Principal, secret: Secret, text: str) -> list[Place]:
    if secret.secret_type not in RESOLVING_TYPES:
        raise InvalidInput(FIELD, "Only passwords, API keys, JSON and text resolve references.")
    places = parse(text)
    for number, place in enumerate(places, 1):
        if not _may_name(actor, place):
            reason = f"Reference {number}: not found, or you can't reveal it."
            raise InvalidValue("value", reason)
    if _lead_back(Place.of(secret), places):
        raise InvalidValue("value", "A reference leads back to this secret.")
    return places


def _may_name(actor: Principal, place: Place) -> bool:
    """Return whether there is such a secret and the actor may reveal it; both alike to who may not."""
    environment = Environment.objects.filter(name=place.environment).first()
    if environment is None:
        return False
    source = find_active(environment, place.name)
    try:
        require(
            actor=actor,
            action=Action.SECRET_REVEAL,
            environment=environment,
            name=place.name,
            object=source.audit_object if source else None,
        )
    except AccessError:
        return False
    return source is not None


def _lead_back(own: Place, places: Collection[Place]) -> bool:
    frontier, seen = set(places), set[Place]()
    while frontier and own not in frontier:
        seen |= frontier
        rows = Reference.objects.filter(
            secret__live=True,
            secret__environment__name__in={place.environment for place in frontier},
            secret__name__in={place.name for place in frontier},
        ).exclude(secret__resolves_as="")
        columns = rows.values_list("secret__environment__name", "secret__name", "environment", "name")
        frontier = {
            Place(*target) for environment, name, *target in columns if Place(environment, name) in frontier
        } - seen
    return own in frontier
