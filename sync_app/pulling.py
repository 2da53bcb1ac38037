"""Takes a target's value into Keeper as a new version; it stays literal, and older versions stay."""

import json
from dataclasses import dataclass
from uuid import UUID

from environments_app.policy import Principal
from environments_app.second_person import Clearance
from secrets_app import fingerprints, writing
from secrets_app.errors import NameTaken, StaleVersion
from secrets_app.finding import living
from secrets_app.input_errors import InvalidInput
from secrets_app.models import Secret
from secrets_app.reading import current_version_of
from secrets_app.secret_types import SecretType, inspect
from sync_app.models import PlanItem, Target
from sync_app.rechecks import Moved
from sync_app.references import PUSH_ONLY


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """Which version of which secret holds the value now."""

    secret: UUID
    version: str
    number: int


def take(*, actor: Principal, target: Target, item: PlanItem, value: str, clearance: Clearance) -> Taken:
    """Write a pulled value if Keeper's side is as it was planned, or holds that very value already.

    Raises Moved if Keeper's secret changed since, InvalidInput if Keeper does not take such a
    value, TamperedSecret, KeyUnavailable, and Forbidden or Invisible.
    """
    secret = living(target.environment, item.name)
    if secret is not None and secret.resolves_references:
        raise Moved(PUSH_ONLY)
    if secret is not None and _holds(secret, value):
        return _taken(secret)
    try:
        return _taken(_written(actor, target, item, secret, value, clearance))
    except (StaleVersion, NameTaken) as error:
        raise Moved("changed in Keeper since the plan was made: plan again") from error


def value_refusal(value: str, *, held_type: str) -> str:
    """Return why Keeper cannot store a target's value; empty if it can.

    `held_type` is the type of Keeper's secret of this name; empty where Keeper has none.
    """
    try:
        inspect(SecretType(held_type) if held_type else _type_of(value), value)
    except InvalidInput as error:
        return f"Keeper does not take the target's value: {error.reason}"
    return ""


def _written(
    actor: Principal,
    target: Target,
    item: PlanItem,
    secret: Secret | None,
    value: str,
    clearance: Clearance,
) -> Secret:
    comment = f"pulled from {target.name}"
    if secret is None:
        if item.keeper_version:
            raise Moved("deleted in Keeper since the plan was made: plan again")
        return writing.create(
            actor=actor,
            environment=target.environment,
            name=item.name,
            secret_type=_type_of(value),
            value=value,
            comment=comment,
            clearance=clearance,
        )
    if current_version_of(secret).uuid.hex != item.keeper_version:
        raise Moved("changed in Keeper since the plan was made: plan again")
    return writing.update(
        actor=actor,
        secret=secret,
        value=value,
        expected=secret.etag,
        comment=comment,
        clearance=clearance,
    )


def _holds(secret: Secret, value: str) -> bool:
    return fingerprints.matches(value.encode(), bytes(current_version_of(secret).fingerprint))


def _taken(secret: Secret) -> Taken:
    version = current_version_of(secret)
    return Taken(secret=secret.uuid, version=version.uuid.hex, number=version.number)


def _type_of(value: str) -> SecretType:
    """Return the type of a secret that is new to Keeper: JSON if the value is an object, else text."""
    try:
        return SecretType.JSON if isinstance(json.loads(value), dict) else SecretType.TEXT
    except (ValueError, RecursionError):
        return SecretType.TEXT
