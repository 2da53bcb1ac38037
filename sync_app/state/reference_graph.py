"""What secrets refer to now, directly and through others; no value is read here."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import F, FilteredRelation, Q

from audit_app.db.batches import in_batches
from environments_app.models import Environment
from secrets_app.models import Reference, Secret
from secrets_app.persistence.references import Place

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
