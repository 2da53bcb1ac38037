"""Shows the members of a JSON or YAML value that an update changes: on demand, recorded, and never a value.

Names of members may themselves be secret, and plans are shown to viewers: so they are no part of a plan.
"""

from typing import Final
from uuid import UUID

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal
from secrets_app.models import Secret
from secrets_app.queries.lookup import require_on
from secrets_app.services.read import reveal
from secrets_app.types.registry import SecretType
from secrets_app.values.version_diff import Part, field_changes
from secrets_app.views.presenters import value_fields
from sync_app.errors import MembersUnknown
from sync_app.models import PlanItem
from sync_app.models.plan import Act, ItemState
from sync_app.state import entry_rows

WITH_MEMBERS: Final = frozenset({SecretType.JSON, SecretType.YAML})


def member_changes(*, actor: Principal, item: PlanItem) -> list[Part]:
    """Return the members of an update that is still planned, with how each changes and without values.

    What the target holds is known from Keeper's own version that was last synced: nothing is read
    there. Both versions are opened, and each is recorded as revealed to the actor.

    Raises Forbidden or Invisible (recorded), MembersUnknown, and what `reveal` raises.
    """
    environment = item.plan.target.environment
    secret = Secret.objects.filter(environment=environment, name=item.name, live=True).first()
    if secret is None:
        raise MembersUnknown("the secret is gone from Keeper: plan again")
    secret.environment = environment
    require_on(actor=actor, action=Action.SECRET_REVEAL, secret=secret)
    before, after = _numbers(item, secret)
    old, new = (
        value_fields(secret.secret_type, reveal(actor=actor, secret=secret, number=number).value)
        for number in (before, after)
    )
    if old is None or new is None:
        raise MembersUnknown("one of the two versions is no object with members")
    return [Part(name=part.name, change=part.change) for part in field_changes(dict(old), dict(new))]


def can_show_members(item: PlanItem, secret: Secret | None) -> bool:
    """Return whether an item's members can be requested, as far as its rows show."""
    planned = item.act == Act.UPDATE and item.state == ItemState.PLANNED
    return planned and secret is not None and secret.secret_type in WITH_MEMBERS


def _numbers(item: PlanItem, secret: Secret) -> tuple[int, int]:
    if not can_show_members(item, secret):
        raise MembersUnknown("only a planned update of a JSON or YAML value shows its members")
    if secret.uses_references:
        raise MembersUnknown("the references in this value are resolved when it is delivered")
    entry = entry_rows.load_named(item.plan.target, [item.name]).get(item.name)
    if entry is None or not entry.base_keeper or entry.base_target != item.target_version:
        raise MembersUnknown("the target's value was not written by Keeper, so its members are unknown")
    return _number(secret, entry.base_keeper), _number(secret, item.keeper_version)


def _number(secret: Secret, version: str) -> int:
    try:
        number = secret.versions.filter(uuid=UUID(version)).values_list("number", flat=True).first()
    except ValueError:
        number = None
    if number is None:
        raise MembersUnknown("one of the two versions is gone from Keeper: plan again")
    return int(number)
