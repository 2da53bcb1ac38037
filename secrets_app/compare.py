"""Compares two environments by keyed fingerprint, which is a read of both."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from django.db.models import F

from audit_app.actions import Action
from audit_app.record import AuditObject, ManifestEntry, commit_record
from audit_app.streams import environment_stream
from environments_app.models import Environment
from environments_app.policy import Principal, allows, require
from secrets_app import fingerprints
from secrets_app.models import SecretVersion


class Difference(StrEnum):
    """How a name stands in two environments."""

    SAME = "same"
    DIFFERENT = "different"
    ONLY_LEFT = "only_left"
    ONLY_RIGHT = "only_right"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One name and how it stands on both sides; numbers are None where it is missing."""

    name: str
    difference: Difference
    left_number: int | None
    right_number: int | None


def compare(*, actor: Principal, left: Environment, right: Environment) -> list[Row]:
    """Return every name of two environments with whether the values are equal, in order of names.

    Needs the right to reveal on both sides (else it would tell a guesser whether a guess is
    right), and is recorded on both as a read of all that was compared, before the answer.

    Raises Forbidden or Invisible.
    """
    for environment in (left, right):
        require(actor=actor, action=Action.SECRET_COMPARE, environment=environment)
    sides = [_current(actor, environment) for environment in (left, right)]
    for environment, other, versions in ((left, right, sides[0]), (right, left, sides[1])):
        commit_record(
            actor=actor,
            action=Action.SECRET_COMPARE,
            stream=environment_stream(environment.uuid),
            object=AuditObject("environment", environment.uuid, environment.name),
            details={"with": other.name, "count": len(versions)},
            manifest=[
                ManifestEntry(secret_uuid=version.secret.uuid, number=version.number, name=name)
                for name, version in versions.items()
            ],
        )
    return [_row(name, *sides) for name in sorted(sides[0].keys() | sides[1].keys())]


def _current(actor: Principal, environment: Environment) -> dict[str, SecretVersion]:
    rows = (
        SecretVersion.objects.select_related("secret")
        .filter(secret__environment=environment, secret__live=True, number=F("secret__current_number"))
        .defer("value")
        .order_by("secret__name")
    )
    found = {}
    for version in rows:
        version.secret.environment = environment
        name = version.secret.name
        readable = allows(actor, Action.SECRET_COMPARE, environment_id=environment.pk, name=name)
        if readable and version.secret.is_authentic():
            found[name] = version
    return found


def _row(name: str, left: Mapping[str, SecretVersion], right: Mapping[str, SecretVersion]) -> Row:
    here, there = left.get(name), right.get(name)
    return Row(
        name=name,
        difference=_difference(here, there),
        left_number=here.number if here else None,
        right_number=there.number if there else None,
    )


def _difference(here: SecretVersion | None, there: SecretVersion | None) -> Difference:
    if here is None:
        return Difference.ONLY_RIGHT
    if there is None:
        return Difference.ONLY_LEFT
    same = fingerprints.same_value(bytes(here.fingerprint), bytes(there.fingerprint))
    return Difference.SAME if same else Difference.DIFFERENT
