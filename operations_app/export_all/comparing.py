"""Compares a file of `keeper-export/1` with the living secrets, by keyed fingerprints: no value is opened."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from django.db.models import Q

from core.db.bulk import in_batches
from environments_app.models import Environment
from secrets_app.keys import fingerprints
from secrets_app.models import Secret, SecretVersion
from sync_app.migration.sources.base import Found, FoundVersion, Value
from sync_app.migration.sources.keeper_export import KeeperExport

_AT_ONCE: Final = 200
# A secret with its versions by number.
_Stored = tuple[Secret, Mapping[int, SecretVersion]]
_Read = Callable[[FoundVersion], Value | None]


@dataclass
class Compared:
    """How many secrets and versions of a file were looked at, and what differs, in words without values."""

    secrets: int = 0
    versions: int = 0
    differences: list[str] = field(default_factory=list)


def compare(export: KeeperExport) -> Compared:
    """Compare each secret and version of a file with what is here.

    Raises ValueUnusable if a line is none of an export, KeyringUnavailable.
    """
    found = Compared()
    for place in export.places():
        environment = Environment.objects.filter(name=place).first()
        if environment is None:
            found.differences.append(f"{place}: there is no such environment")
            continue
        names = list(export.paths(place))
        for some in in_batches(names, _AT_ONCE):
            stored = _stored(environment, some)
            for name in some:
                there = export.find(place, name)
                found.secrets += 1
                found.versions += len(there.versions)
                read = partial(export.open, place, name)
                found.differences += [
                    f"{place}/{name}{each}" for each in _differences(there, stored.get(name), read)
                ]
        found.differences += [f"{place}/{name}: only here" for name in _own_names(environment, names)]
    return found


def _stored(environment: Environment, names: Sequence[str]) -> dict[str, _Stored]:
    secrets = list(Secret.objects.filter(environment=environment, live=True, name__in=names))
    versions: dict[int, dict[int, SecretVersion]] = {}
    for row in SecretVersion.objects.filter(secret__in=secrets).defer("value"):
        versions.setdefault(row.secret_id, {})[row.number] = row
    for secret in secrets:
        secret.environment = environment
    return {secret.name: (secret, versions.get(secret.pk, {})) for secret in secrets}


def _own_names(environment: Environment, names: Sequence[str]) -> list[str]:
    """Return the secrets that an export would have and the file has not."""
    is_exported = Q(guarded=None) | Q(guarded=False)
    rows = Secret.objects.filter(is_exported, environment=environment, live=True, decoy=None)
    return sorted(set(rows.values_list("name", flat=True)) - {*names})


def _differences(there: Found, stored: _Stored | None, read: _Read) -> Iterator[str]:
    if stored is None:
        yield ": only in the file"
        return
    secret, rows = stored
    if not secret.is_authentic():
        yield ": it was changed outside Keeper"
        return
    for version in there.versions:
        row = rows.get(version.number)
        if row is None:
            yield f" v{version.number}: only in the file"
        elif bool(version.state) != bool(secret.rules.state(row.number)):
            yield f" v{version.number}: it can be read {'here' if version.state else 'in the file'} alone"
        elif not version.state and not _is_equal(read(version), row):
            yield f" v{version.number}: it has another value"
    if secret.current_number != there.current:
        yield f": v{secret.current_number} is current here, v{there.current} in the file"


def _is_equal(value: Value | None, row: SecretVersion) -> bool:
    text = value.text if value else None
    return text is not None and fingerprints.matches(text.encode(), bytes(row.fingerprint))
