"""Use cases of groups: making them and deciding who belongs to them."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from django.contrib.auth.models import Group
from django.db import IntegrityError

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import NIL
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject, EventDraft
from audit_app.recording.recorder import record_many
from core.canonical_json import Json
from environments_app.approvals.access_proposals import joining
from environments_app.approvals.broken_glass import record_breaking
from environments_app.approvals.gate import require_approval
from environments_app.approvals.group_members import lock_group
from environments_app.authorization.break_glass import confirm_grant, opens_values
from environments_app.authorization.policy import Principal, require
from environments_app.environments.memberships import note_move
from environments_app.errors import Conflict, InvalidField, NameInUse
from environments_app.models import Environment, GroupMember, ProvisionedGroup, User
from environments_app.sessions.service import lock_actor

_MAX_NAME = 150


def create_group(*, actor: Principal, name: str) -> Group:
    """Create a group. Raises Forbidden, InvalidField, or NameInUse."""
    require(actor=actor, action=Action.GROUP_CHANGE, environment=None)
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise InvalidField("name", f"Use 1 to {_MAX_NAME} printable characters.")
    try:
        with lock_actor(actor, Action.GROUP_CHANGE):
            group = Group.objects.create(name=name.strip())
            record_many([_draft(actor, group, "created")])
    except IntegrityError as error:
        raise NameInUse("This name is taken.") from error
    return group


def add_to_group(*, actor: Principal, user: User, group: Group) -> GroupMember:
    """Let a person take part in all memberships of a group.

    An administrator who thereby grants access to values performs a break-glass act. Each protected
    environment in which the group has a role needs an approval. Raises Forbidden, ConfirmationNeeded,
    Suspended (to break the glass), Conflict if the person belongs to it already, or ApprovalNeeded.
    """
    require(actor=actor, action=Action.GROUP_CHANGE, environment=None)
    if ProvisionedGroup.objects.filter(group=group).exists():
        raise Conflict(f"A SCIM client decides who is in {group.name}. Add the person there.")
    if Environment.every.filter(memberships__group=group, protected=True, deleted_at__isnull=False).exists():
        # Nobody can approve it there, and a restore would let the person in.
        raise Conflict(
            "The group has a role in a protected environment that is deleted. Restore the environment first."
        )
    roles = _roles(group)
    for place in group.memberships.select_related("environment"):
        confirm_grant(actor, Action.MEMBER_GRANT, environment=place.environment, role=place.role)
    approvals = [
        (place, require_approval(actor=actor, proposal=joining(user, group=group, environment=place)))
        for place in _places(group)
    ]
    try:
        with lock_actor(actor, Action.GROUP_CHANGE, people=[user]):
            lock_group(group.pk)
            if _roles(group) != roles:
                raise Conflict("The group's role has changed. Reload the page.")
            approved = [approval.consume(place, actor=actor) for place, approval in approvals]
            member = GroupMember.objects.create(user=user, group=group)
            draft = _draft(actor, group, "added", member, approved)
            record_breaking(draft, breaks_glass=_opens_values(actor, group), places=_places(group))
    except IntegrityError as error:
        raise Conflict("This person is already in the group.") from error
    return member


def choose_members(*, actor: Principal, group: Group, people: Iterable[User]) -> None:
    """Let exactly these people be in a group, one after another; what was done before a refusal stays.

    Raises what `add_to_group` and `remove_from_group` raise.
    """
    chosen = {person.pk: person for person in people}
    present = {member.user_id: member for member in group.group_members.select_related("user", "group")}
    # What may need a proof or an approval first.
    for pk in chosen.keys() - present.keys():
        add_to_group(actor=actor, user=chosen[pk], group=group)
    for pk in present.keys() - chosen.keys():
        remove_from_group(actor=actor, member=present[pk])


def remove_from_group(*, actor: Principal, member: GroupMember) -> None:
    """Take a person out of a group. Raises Forbidden, or Conflict if a SCIM client decides who is in it."""
    require(actor=actor, action=Action.GROUP_CHANGE, environment=None)
    _require_unowned(member.group)
    with lock_actor(actor, Action.GROUP_CHANGE, people=[member.user]):
        draft = _draft(actor, member.group, "removed", member)
        member.delete()
        record_many([draft])
        note_move(actor=actor, user=member.user)


def delete_group(*, actor: Principal, group: Group) -> None:
    """Delete a group that has no members and no memberships. Raises Forbidden, or Conflict."""
    require(actor=actor, action=Action.GROUP_CHANGE, environment=None)
    _require_unowned(group)
    with lock_actor(actor, Action.GROUP_CHANGE):
        if group.group_members.exists() or group.memberships.exists():
            raise Conflict("The group still has members or roles. Remove them first.")
        for owned in ProvisionedGroup.objects.select_related("client", "group").filter(group=group):
            # Of a client that was removed: another one makes a group of its own.
            record_many([_draft(actor, group, "forgotten", details=row_digest_entry(owned, gone=True))])
            owned.delete()
        record_many([_draft(actor, group, "deleted")])
        group.delete()


def _require_unowned(group: Group) -> None:
    """Raise Conflict if a SCIM client decides who is in a group, and was not removed."""
    if ProvisionedGroup.objects.filter(group=group, client__removed_at=None).exists():
        raise Conflict(f"A SCIM client decides who is in {group.name}. Change it there.")


def _places(group: Group) -> list[Environment]:
    """Return the environments in which a group has a role."""
    return list(Environment.objects.filter(memberships__group=group).distinct().order_by("pk"))


def _roles(group: Group) -> list[tuple[Any, ...]]:
    return list(group.memberships.order_by("pk").values_list("pk", "role", "prefix", "expires_at"))


def _opens_values(actor: Principal, group: Group) -> bool:
    return any(
        opens_values(actor, Action.MEMBER_GRANT, environment_id=place.environment_id, role=place.role)
        for place in group.memberships.all()
    )


def _draft(
    actor: Principal,
    group: Group,
    change: str,
    member: GroupMember | None = None,
    approved: Sequence[dict[str, Json]] = (),
    details: Mapping[str, Json] = MappingProxyType({}),
) -> EventDraft:
    details = {"change": change, "group": group.pk, **details}
    if member:
        details |= {"user": member.user.username, **row_digest_entry(member, gone=change == "removed")}
    if any(approved):
        details["approvals"] = [item["approval"] for item in approved if item]
    return EventDraft(
        actor=actor,
        action=Action.GROUP_CHANGE,
        stream=streams.SYSTEM,
        object=AuditObject("group", NIL, group.name),
        details=details,
    )
