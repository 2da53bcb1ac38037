"""Whom an approved role reaches: a person whose account is enabled, or the members that the approver saw.

Whoever may put people into a group without a role could otherwise decide alone, after the approval, who
gets the role.
"""

from collections.abc import Mapping
from typing import Any, Final

from django.contrib.auth.models import Group
from django.db.models import Q

from core.canonical_json import Json
from environments_app.authorization.rows import isoformat
from environments_app.models import Environment, GroupMember, Membership, ProvisionedGroup, User

# The argument of a request that has the group, and its members by UUID.
REACHES: Final = "reaches"
# The argument of a request to join a group: the roles that come with it.
ROLES: Final = "roles"
# In it: the SCIM client that decides who is in the group, also after the approval.
OWNER: Final = "owner"
_AGAIN: Final = "Request approval again."


def reach_of(group: Group) -> dict[str, Json]:
    """Return the argument that binds a request to the members of a group, or to who decides about them."""
    owned = ProvisionedGroup.objects.filter(group=group).select_related("client").first()
    if owned is not None:
        # Without its members: who they are is what the client decides.
        owner = {"members": {}, OWNER: owned.client.name}
        return {REACHES: {"group": group.pk, "name": group.name, **owner}}
    return {REACHES: {"group": group.pk, "name": group.name, "members": dict(_members(group.pk))}}


def names_in(reach: Mapping[str, Any]) -> str:
    """Return how many people a group has, and who they are."""
    if owner := reach[REACHES].get(OWNER):
        return f"{owner} decides who is in it"
    names = sorted(reach[REACHES]["members"].values())
    return f"{len(names)}: {', '.join(names)}" if names else "0"


def roles_of(group_id: int, environment: Environment) -> list[Json]:
    """Return the roles that a group has in an environment: role, path and expiry."""
    rows = Membership.objects.filter(group_id=group_id, environment=environment).order_by("pk")
    return [[str(row.role), row.prefix, isoformat(row.expires_at)] for row in rows]


def lock_reach(arguments: Mapping[str, Any]) -> None:
    """Let nobody join the group of a request until the caller's transaction ends."""
    if REACHES in arguments:
        lock_group(arguments[REACHES]["group"])


def lock_group(id: int) -> None:
    """Let nobody join a group or give it a role in a protected environment until the transaction ends."""
    list(Group.objects.select_for_update().filter(pk=id).values_list("pk"))


def change_since(arguments: Mapping[str, Any], environment: Environment) -> str:
    """Return what has changed about who gets the access of a request since it was made; "" if nothing has."""
    if disabled := _disabled_holder(arguments):
        return (
            f"The account of {disabled} is disabled, so nothing is granted. Enable it first, or reject this."
        )
    if ROLES in arguments and arguments[ROLES] != roles_of(arguments["group_id"], environment):
        return f"The roles of the group {arguments['group']} have changed since the request. {_AGAIN}"
    if REACHES not in arguments:
        return ""
    reach = arguments[REACHES]
    if OWNER in reach:
        return ""
    then, now = reach["members"], _members(reach["group"])
    changes = [
        f"{word} {', '.join(sorted(people[uuid] for uuid in uuids))}"
        for word, people, uuids in (("added", now, now.keys() - then), ("removed", then, then.keys() - now))
        if uuids
    ]
    if not changes:
        return ""
    changed = "; ".join(changes)
    return f"The members of the group {reach['name']} have changed since the request: {changed}. {_AGAIN}"


def _disabled_holder(arguments: Mapping[str, Any]) -> str:
    """Return the name of the person who would get access and has left or is disabled; "" for any other."""
    uuid, membership = arguments.get("user") or arguments.get("asked_by"), arguments.get("membership")
    if not uuid and not membership:
        return ""
    holder = Q(uuid=uuid) if uuid else Q(memberships=membership)
    return User.objects.filter(holder, is_active=False).values_list("username", flat=True).first() or ""


def _members(group_id: int) -> dict[str, str]:
    rows = GroupMember.objects.filter(group_id=group_id).select_related("user").order_by("pk")
    return {str(row.user.uuid): row.user.username for row in rows}
