"""References: what secrets refer to, directly and through others, and filling them in for a target.

The graph reads no value. The resolver decides whether references may be filled in; nothing resolved is
stored.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import F, FilteredRelation, Q

from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.row_authentication import verified_rows
from core.db.bulk import in_batches
from environments_app.authorization.policy import Principal, allows
from environments_app.authorization.principals import load_principal
from environments_app.models import Environment
from secrets_app.errors import InvalidValue
from secrets_app.models import Reference, Secret
from secrets_app.rows.references import Place, parse, substitute
from secrets_app.types.registry import SecretType, inspect
from sync_app.errors import SyncError
from sync_app.models import ReferenceConsent, Target

# References of references of …: further ones are not followed, and refuse the secret.
MAX_DEPTH: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A secret that others name; `secret` is None where there is none."""

    secret: Secret | None = None
    version: UUID | None = None
    verified: bool = True
    names: tuple[Place, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """What one secret refers to. `sources` is shared by all that were looked at together."""

    secret: Secret
    names: tuple[Place, ...]
    sources: Mapping[Place, Source]

    def all_sources(self) -> set[Place]:
        """Return everything that it refers to, directly and through others."""
        found: set[Place] = set()
        frontier = set(self.names)
        while frontier:
            found |= frontier
            known = [self.sources[place] for place in frontier if place in self.sources]
            frontier = {place for source in known for place in source.names} - found
        return found

    def versions(self) -> dict[UUID, Secret]:
        """Return the versions that contribute, each with its secret."""
        known = [self.sources[place] for place in self.all_sources() if place in self.sources]
        return {source.version: source.secret for source in known if source.secret and source.version}

    def delivered_version(self, own: UUID) -> str:
        """Return a version that changes with the value of any secret in the resolution."""
        if not self.names:
            return own.hex
        parts = [own.hex]
        for place in sorted(self.all_sources()):
            source = self.sources.get(place)
            parts.append(f"{place.environment}/{place.name} {source.version if source else None}")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def load_resolutions(secrets: Sequence[Secret]) -> dict[UUID, Resolution]:
    """Return what each of these secrets refers to, by the secret's uuid; few statements for all."""
    names = _referenced_names(secrets)
    sources: dict[Place, Source] = {}
    frontier = {place for places in names.values() for place in places}
    for _ in range(MAX_DEPTH):
        found = _load_sources(frontier - sources.keys())
        if not found:
            break
        sources |= found
        frontier = {place for source in found.values() for place in source.names}
    return {
        secret.uuid: Resolution(secret=secret, names=names.get(secret.pk, ()), sources=sources)
        for secret in secrets
    }


def _referenced_names(secrets: Iterable[Secret]) -> dict[int, tuple[Place, ...]]:
    found: dict[int, list[Place]] = defaultdict(list)
    for ids in in_batches([secret.pk for secret in secrets]):
        rows = Reference.objects.filter(secret__in=ids).order_by("pk")
        for id_, environment, name in rows.values_list("secret_id", "environment", "name"):
            found[id_].append(Place(environment, name))
    return {id_: tuple(places) for id_, places in found.items()}


def _load_sources(places: set[Place]) -> dict[Place, Source]:
    by_environment: dict[str, list[str]] = defaultdict(list)
    for place in sorted(places):
        by_environment[place.environment].append(place.name)
    rows: list[Secret] = []
    for environment in Environment.objects.filter(name__in=list(by_environment)):
        for wanted in in_batches(by_environment[environment.name]):
            rows += _load_secrets(environment, wanted)
    names = _referenced_names(row for row in rows if row.uses_references)
    found = {
        Place.of(row): Source(
            secret=row,
            version=row.current_uuid,  # type: ignore[attr-defined]  # annotated
            verified=row.is_authentic() and row.environment.is_authentic(),
            names=names.get(row.pk, ()),
        )
        for row in rows
    }
    return {place: found.get(place, Source()) for place in places}


def _load_secrets(environment: Environment, names: Sequence[str]) -> list[Secret]:
    rows = Secret.objects.filter(environment=environment, live=True, name__in=names).annotate(
        current=FilteredRelation("versions", condition=Q(versions__number=F("current_number"))),
        current_uuid=F("current__uuid"),
    )
    found: list[Secret] = list(rows)
    for row in found:
        row.environment = environment
    return found


PUSH_ONLY: Final = "a secret that resolves references is only pushed: nothing is taken into it"
_GONE: Final = "names no secret that exists"
_FORGED: Final = "names a secret whose record was changed outside Keeper"
_NOT_ALLOWED: Final = "names a secret that its writer may not reveal"
_GUARDED: Final = "names a guarded secret, which no target gets"
_NO_CONSENT: Final = "names a secret of an environment that has not consented to this target"
_CIRCLE: Final = "leads in a circle"
_TOO_FAR: Final = f"leads through more than {MAX_DEPTH} others"


class Unresolvable(SyncError):
    """The references of a value cannot be resolved; the message states why, and names no secret."""


class ReferenceRights:
    """What may be filled in for one target, as of now; each question is asked once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._writers: dict[str, Principal] = {}
        self._consents: list[ReferenceConsent] | None = None

    def explain_refusal(self, resolution: Resolution | None) -> str:
        """Return why a secret's references may not be resolved; empty if they may.

        The last writer of the secret, and of each one on the way, must have the right to reveal
        what it names, and each environment must have consented to the target.
        """
        if resolution is None:
            return ""
        secret = resolution.secret
        walk = _ReferenceWalk(self, resolution.sources)
        for number, place in enumerate(resolution.names, 1):
            fault = walk.find_refusal(place, frozenset({secret.resolves_as}), (Place.of(secret),))
            if fault:
                return f"reference {number} {fault}"
        return ""

    def may_reveal(self, writer: str, secret: Secret) -> bool:
        """Return whether the last writer of a value may reveal a secret, by now."""
        if writer not in self._writers:
            kind, _, uuid = writer.partition(":")
            self._writers[writer] = load_principal(Actor(kind=ActorKind(kind), uuid=UUID(uuid), name=""))
        principal = self._writers[writer]
        return allows(principal, Action.SECRET_REVEAL, environment_id=secret.environment_id, name=secret.name)

    def has_consent(self, secret: Secret) -> bool:
        """Return whether a secret's environment allows delivery to the target; true for its own."""
        if secret.environment_id == self._target.environment_id:
            return True
        if self._consents is None:
            rows = ReferenceConsent.objects.filter(target=self._target)
            self._consents = verified_rows(rows.select_related("environment", "target"))
        return any(
            consent.environment_id == secret.environment_id and consent.covers(secret.name)
            for consent in self._consents
        )


class _ReferenceWalk:
    """Goes through what a secret refers to, once for each set of writers that it is reached through."""

    def __init__(self, rights: ReferenceRights, sources: Mapping[Place, Source]) -> None:
        self._rights, self._sources = rights, sources
        self._passed: set[tuple[Place, frozenset[str]]] = set()

    def find_refusal(self, place: Place, writers: frozenset[str], trail: tuple[Place, ...]) -> str:
        if place in trail:
            return _CIRCLE
        if (place, writers) in self._passed:
            return ""
        source = self._sources.get(place)
        if source is None or len(trail) > MAX_DEPTH:
            return _TOO_FAR
        own = self._own_fault(source, writers)
        if own or source.secret is None:
            return own
        through = writers | {source.secret.resolves_as} if source.names else writers
        for each in source.names:
            deeper = self.find_refusal(each, through, (*trail, place))
            if deeper:
                return deeper
        self._passed.add((place, writers))
        return ""

    def _own_fault(self, source: Source, writers: frozenset[str]) -> str:
        secret = source.secret
        if secret is None or source.version is None:
            return _GONE
        if not source.verified:
            return _FORGED
        if secret.guarded:
            return _GUARDED
        # A decoy is filled in nowhere, and the words do not tell that it is one.
        if secret.decoy or not all(self._rights.may_reveal(writer, secret) for writer in writers):
            return _NOT_ALLOWED
        return "" if self._rights.has_consent(secret) else _NO_CONSENT


def substitute_references(resolution: Resolution, text: str, values: Mapping[UUID, str]) -> str:
    """Return a text with its references filled in; `values` are those of the versions that contribute.

    Raises Unresolvable if the text names what was not noted when it was written (and so not asked
    about), a value is missing, or the result is none of the secret's type.
    """
    secret = resolution.secret
    whole = _substitute(secret, text, resolution.names, resolution.sources, values)
    try:
        inspect(SecretType(secret.secret_type), whole)
    except InvalidValue as error:
        raise Unresolvable(f"with its references filled in, the value does not fit: {error.reason}") from None
    return whole


def _substitute(
    secret: Secret,
    text: str,
    names: tuple[Place, ...],
    sources: Mapping[Place, Source],
    values: Mapping[UUID, str],
) -> str:
    try:
        named = parse(text)
    except InvalidValue:
        named = None
    if named is None or not set(named) <= set(names):
        raise Unresolvable("the value names other secrets than were noted with it: save it again")
    found = {place: _value(sources[place], sources, values) for place in named}
    return substitute(text, found, secret_type=SecretType(secret.secret_type))


def _value(source: Source, sources: Mapping[Place, Source], values: Mapping[UUID, str]) -> str:
    if source.secret is None or source.version is None or source.version not in values:
        raise Unresolvable("a value that it refers to does not open")
    text = values[source.version]
    if not source.secret.uses_references:
        return text
    return _substitute(source.secret, text, source.names, sources, values)
