"""Clones an environment: its settings, and with `values` its secrets as they are now.

The clone begins unprotected with one manager, as every new environment does. So the values of a protected
environment are not cloned: what is written there took two people.
"""

from typing import Final

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from core.db.bulk import in_batches
from environments_app.authorization.policy import Principal, allows, require
from environments_app.authorization.principals import refresh_principal
from environments_app.environments.service import create_environment, find_environment
from environments_app.errors import Conflict, NameInUse
from environments_app.models import Environment
from environments_app.names import validate_environment_name
from secrets_app.models import Secret
from secrets_app.services.bulk_create import MAX_ITEMS, NewSecret, create_many
from secrets_app.services.read import ExportedValue, reveal_environment
from secrets_app.types.registry import SecretType

PROTECTED: Final = (
    "{} is protected: its values are not cloned. Clone it without values, then promote what is needed."
)


def clone_environment(
    *, actor: Principal, source: Environment, name: str, with_values: bool = False
) -> tuple[Environment, int]:
    """Create an environment with the settings of another; return it, and how many secrets it was given.

    `with_values` reads the source whole, on record and with a fresh proof, and creates its secrets again,
    sealed under the clone's key: description, tags, owner and expiry go with them. Members, tokens, trusts,
    targets, rotation and history stay behind, and references become literal text.

    Raises Forbidden or Invisible, BadName, NameInUse, Conflict if the source is protected, and what
    `reveal_environment` and `create_many` raise.
    """
    require(actor=actor, action=Action.ENVIRONMENT_CREATE, environment=None)
    validate_environment_name(name)
    # Before anything is read: a read for nothing would stay on record.
    if Environment.objects.filter(name=name).exists():
        raise NameInUse(f"{name} already exists.")
    exported = _values(actor, source) if with_values else []
    # Reading many takes a while.
    present = refresh_principal(actor)
    source = find_environment(actor=present, name=source.name)
    if with_values and source.protected:
        raise Conflict(PROTECTED.format(source.name))
    clone = create_environment(
        actor=present,
        name=name,
        description=source.description,
        kms_key_alias=source.kms_key_alias,
        colour=source.colour,
        offline_hours=source.offline_hours,
        outside_hours=source.outside_hours,
        guarded_prefixes=source.guarded_prefixes,
        emergency_reads=source.emergency_reads,
        approvals_required=source.approvals_required,
        cloned_from=source if with_values else None,
    )
    return clone, _stored(refresh_principal(present), source, clone, exported)


def _values(actor: Principal, source: Environment) -> list[ExportedValue]:
    if source.protected:
        raise Conflict(PROTECTED.format(source.name))
    for action in (Action.SECRET_EXPORT, Action.SECRET_COPY):
        require(actor=actor, action=action, environment=source)
    return reveal_environment(actor=actor, environment=source)


def _stored(actor: Principal, source: Environment, clone: Environment, exported: list[ExportedValue]) -> int:
    """Create the secrets that were read and that the actor may still copy, a thousand in a transaction."""
    stored = 0
    for part in in_batches(exported, MAX_ITEMS):
        rows = Secret.objects.filter(environment=source, live=True, name__in=[item.name for item in part])
        about = {row.name: row for row in verified_rows(rows)}
        items = [
            NewSecret(
                environment=clone,
                name=item.name,
                secret_type=SecretType(about[item.name].secret_type),
                value=item.value,
                comment="cloned",
                metadata={
                    "description": about[item.name].description,
                    "tags": about[item.name].tags,
                    "owner": about[item.name].owner,
                    "expires_at": about[item.name].expires_at,
                },
            )
            for item in part
            if item.name in about
            and allows(actor, Action.SECRET_COPY, environment_id=source.pk, name=item.name)
        ]
        stored += len(create_many(actor=actor, items=items)) if items else 0
    return stored
