"""Use cases of a SCIM client with groups: groups of Keeper whose members the client decides.

A manager grants roles to the group, and a grant that needs an approval names the client. The client changes
who is in it: that asks for no approval, as what was approved is that the client decides. The name of the
group is fixed, since the MACs of its members cover it; the client's own name for it may change.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final
from uuid import UUID

from auditlog.context import disable_auditlog
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import NIL
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.canonical_json import Json
from core.db.bulk import in_batches
from environments_app.approvals.group_members import lock_group
from environments_app.authorization.policy import Principal
from environments_app.authorization.rows import require_authentic
from environments_app.environments.memberships import note_moves
from environments_app.errors import InvalidField, Invisible, NameInUse
from environments_app.models import GroupMember, ProvisionedGroup, ProvisionedUser, ScimClient, User
from environments_app.tokens.scim_clients import provisioning

Attributes = dict[str, Any]
Edit = Callable[[Attributes], Attributes]
_MAX_NAME: Final = 150
_SAME_NAMES: Final = 99
_AT_ONCE: Final = 500
_NAMED: Final = 20


def groups_of(client: ScimClient) -> QuerySet[ProvisionedGroup]:
    """Return the groups of a client, in the order in which they came."""
    return ProvisionedGroup.objects.filter(client=client).select_related("client", "group").order_by("pk")


def find(client: ScimClient, id: UUID) -> ProvisionedGroup:
    """Return a group of a client. Raises Invisible if it has none of this id."""
    rows = verified_rows(groups_of(client).filter(uuid=id))
    if not rows:
        raise Invisible("This client has no group of this id.")
    return rows[0]


def members_of(rows: Collection[ProvisionedGroup]) -> dict[int, list[UUID]]:
    """Return the ids of the members, by the group's row."""
    found: dict[int, list[UUID]] = {row.pk: [] for row in rows}
    clients = {row.client_id for row in rows}
    people = ProvisionedUser.objects.filter(
        client__in=clients, live=True, user__group_memberships__group__provisioned__in=[*found]
    )
    columns = ("user__group_memberships__group__provisioned", "uuid")
    for group, uuid in people.order_by("pk").values_list(*columns):
        if group in found:
            found[group].append(uuid)
    return found


def groups_with(client: ScimClient, users: Collection[int]) -> dict[int, list[tuple[UUID, str]]]:
    """Return the id and the name of each group of the client that some accounts are in, by account."""
    found: dict[int, list[tuple[UUID, str]]] = {}
    rows = ProvisionedGroup.objects.filter(client=client, group__group_members__user__in=users)
    columns = ("group__group_members__user", "uuid", "display_name")
    for user, uuid, name in rows.order_by("pk").values_list(*columns):
        found.setdefault(user, []).append((uuid, name))
    return found


def create(*, actor: Principal, client: ScimClient, wanted: Attributes) -> ProvisionedGroup:
    """Make a group with its members. Raises NameInUse, InvalidField, or BadToken."""
    with provisioning(actor, client) as locked:
        _require_free(locked, wanted, None)
        group = Group.objects.create(name=_free_name(locked, wanted["displayName"]))
        row = ProvisionedGroup(client=locked, group=group)
        _describe(row, wanted)
        row.save(force_insert=True)
        _record(actor, row, "created", row_digest_entry(row))
        _set_members(actor, row, wanted, before=[])
    return row


def change(
    *, actor: Principal, client: ScimClient, id: UUID, edit: Edit, require: Callable[[int], None]
) -> ProvisionedGroup:
    """Apply an edit to a group; a change that changes nothing leaves no event.

    `require` is called with the revision under the lock. Raises as `create` does, Invisible, Tampered, and
    what the edit raises: nothing is applied then.
    """
    with provisioning(actor, client) as locked:
        row = _locked(locked, id)
        require(row.revision)
        members = [*map(str, members_of([row])[row.pk])]
        before = attributes_of(row) | {"members": [{"value": uuid} for uuid in members]}
        wanted = edit(before)
        _require_free(locked, wanted, row)
        is_moved = _set_members(actor, row, wanted, before=members)
        is_renamed = attributes_of(row) != {name: wanted[name] for name in wanted.keys() - {"members"}}
        if is_renamed:
            _describe(row, wanted)
        if is_renamed or is_moved:
            row.revision, row.changed_at = row.revision + 1, timezone.now()
            row.save()
        if is_renamed:
            _record(actor, row, "renamed", {"name": row.display_name, **row_digest_entry(row)})
    return row


def remove(*, actor: Principal, client: ScimClient, id: UUID, require: Callable[[int], None]) -> None:
    """Take everybody out of a group and forget it; one that has roles stays, empty. Raises as `change`."""
    with provisioning(actor, client) as locked:
        row = _locked(locked, id)
        require(row.revision)
        members = [*map(str, members_of([row])[row.pk])]
        _set_members(actor, row, {}, before=members)
        _record(actor, row, "deleted", row_digest_entry(row, gone=True))
        group = row.group
        row.delete()
        if not group.memberships.exists() and not group.group_members.exists():
            group.delete()


def leave_all(*, actor: Principal, client: ScimClient, user: User) -> None:
    """Take a person who ended out of all groups of a client, in the caller's transaction."""
    for row in groups_of(client).filter(group__group_members__user=user):
        places = list(GroupMember.objects.filter(group=row.group, user=user).select_related("user", "group"))
        _take_out(actor, row, places)
        row.revision, row.changed_at = row.revision + 1, timezone.now()
        row.save(update_fields=["revision", "changed_at"])


def attributes_of(row: ProvisionedGroup) -> Attributes:
    """Return what a client stores of a group, without its members."""
    stored = {"externalId": row.external_id, "displayName": row.display_name}
    return {name: text for name, text in stored.items() if text}


def _locked(client: ScimClient, id: UUID) -> ProvisionedGroup:
    """Return a group of a locked client, which no grant and no other client changes meanwhile."""
    row = groups_of(client).filter(uuid=id).first()
    if row is None:
        raise Invisible("This client has no group of this id.")
    require_authentic(row)
    lock_group(row.group_id)
    return row


def _describe(row: ProvisionedGroup, wanted: Mapping[str, Any]) -> None:
    row.display_name, row.external_id = wanted["displayName"], wanted.get("externalId", "")


def _set_members(
    actor: Principal, row: ProvisionedGroup, wanted: Mapping[str, Any], *, before: Collection[str]
) -> bool:
    """Put people in and take people out, and return whether anybody was.

    Nobody who ended is put in: the role of the group would be theirs at once when they return.
    """
    given = dict.fromkeys(each["value"].lower() for each in wanted.get("members") or [])
    present = set(before)
    added, removed = [each for each in given if each not in present], present - given.keys()
    is_moved = bool(removed)
    # Never all at once: of 5,000 people, the rows alone were 8 MB.
    for ids in in_batches(added, _AT_ONCE):
        users = [person.user for person in _people(row.client, ids) if person.user.is_active]
        if users:
            _put_in(actor, row, users)
            is_moved = True
    for ids in in_batches(sorted(removed), _AT_ONCE):
        places = row.group.group_members.filter(
            user__provisioned__uuid__in=ids, user__provisioned__client=row.client
        )
        _take_out(actor, row, list(places.select_related("user")))
    return is_moved


def _people(client: ScimClient, ids: Collection[str]) -> list[ProvisionedUser]:
    """Return people of a client by their ids. Raises InvalidField for an id that is none."""
    rows = list(
        client.people.filter(live=True, uuid__in=filter(_is_id, ids)).select_related("user").order_by("pk")
    )
    found = {str(row.uuid): row for row in verified_rows(rows)}
    for each in ids:
        if each not in found:
            raise InvalidField("members", f"This provider has no user {each[:40]}. Members are users.")
    return list(found.values())


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _put_in(actor: Principal, row: ProvisionedGroup, users: Iterable[User]) -> None:
    places = [GroupMember(user=user, group=row.group) for user in users]
    GroupMember.objects.bulk_create(places)
    _record_members(actor, row, "added", places, row_digest_entry(*places))


def _take_out(actor: Principal, row: ProvisionedGroup, places: Collection[GroupMember]) -> None:
    if not places:
        return
    _record_members(actor, row, "removed", places, row_digest_entry(*places, gone=True))
    # One statement: their ends are recorded, and the history of configuration holds what people set up.
    with disable_auditlog():
        QuerySet(GroupMember).filter(pk__in=[place.pk for place in places]).delete()
    if row.group.memberships.exists():
        # A group without a role opened nothing to them.
        note_moves(actor=actor, users=[place.user for place in places])


def _record_members(
    actor: Principal,
    row: ProvisionedGroup,
    change: str,
    places: Collection[GroupMember],
    digests: Mapping[str, Json],
) -> None:
    names = sorted(place.user.username for place in places)
    details: dict[str, Json] = {"people": len(names), "users": [*names[:_NAMED]], **digests}
    _record(actor, row, change, details)


def _record(actor: Principal, row: ProvisionedGroup, change: str, details: Mapping[str, Json]) -> None:
    record(
        actor=actor,
        action=Action.GROUP_CHANGE,
        stream=streams.SYSTEM,
        object=AuditObject("group", NIL, row.group.name),
        details={"change": change, "group": row.group.pk, "client": row.client.name, **details},
    )


def _require_free(client: ScimClient, wanted: Attributes, row: ProvisionedGroup | None) -> None:
    """Raise NameInUse if another group of the client has the name."""
    others = groups_of(client).exclude(pk=row.pk) if row else groups_of(client)
    name = wanted["displayName"].casefold()
    if any(other.casefold() == name for other in others.values_list("display_name", flat=True)):
        raise NameInUse("Another group of this provider has this displayName.")


def _free_name(client: ScimClient, display_name: str) -> str:
    """Return the name of a new group of Keeper, with the client's name before it."""
    base = f"{client.name}/{display_name}"[: _MAX_NAME - 3].strip()
    for name in _names(base):
        if not Group.objects.filter(name=name).exists():
            return name
    raise NameInUse("Too many groups have this name. Give the group another one.")


def _names(base: str) -> Iterator[str]:
    yield base
    yield from (f"{base}-{number}" for number in range(2, _SAME_NAMES + 1))
