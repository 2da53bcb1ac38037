"""Groups that a SCIM client fills: one change of a member is one row, whatever the group may reach."""

import gc
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from environments_app.approvals import service as approvals
from environments_app.authorization.principals import user_principal
from environments_app.environments import groups
from environments_app.environments.memberships import change_membership, grant
from environments_app.environments.service import update_environment
from environments_app.errors import ApprovalNeeded, Conflict
from environments_app.models import (
    Approval,
    Departure,
    GroupMember,
    Membership,
    ProvisionedGroup,
    ProvisionedUser,
    ScimClient,
    User,
)
from environments_app.tests.cast import Cast
from environments_app.tokens import scim_clients
from environments_app.users.accounts import update_user
from gateway_app.scim.schema import GROUP, MESSAGES
from secrets_app.provisioning import groups as scim_groups
from tests.people.test_scim import Scim

pytestmark = pytest.mark.django_db

Events = Callable[..., list[AuditEvent]]


@pytest.fixture
def scim(cast: Cast) -> Scim:
    return Scim(cast)


def make(scim: Scim, name: str = "Platform", *members: str, **more: Any) -> Any:
    body = {"schemas": [GROUP.urn], "displayName": name, "members": [{"value": each} for each in members]}
    return scim.call("post", "/Groups", body | more)


def made(scim: Scim, name: str = "Platform", *members: str, **more: Any) -> str:
    answer = make(scim, name, *members, **more)
    assert answer.status_code == 201, answer.content
    return str(answer.json()["id"])


def patch(scim: Scim, key: str, *operations: Any) -> Any:
    body = {"schemas": [f"{MESSAGES}PatchOp"], "Operations": list(operations)}
    return scim.call("patch", f"/Groups/{key}", body)


def members(scim: Scim, key: str) -> list[str]:
    found = scim.call("get", f"/Groups/{key}").json().get("members", [])
    people = ProvisionedUser.objects.in_bulk([each["value"] for each in found], field_name="uuid")
    return [str(people[UUID(each["value"])].user_name) for each in found]


def give_role(cast: Cast, name: str, role: str = "reader") -> Any:
    return grant(
        actor=cast.principal(cast.alice), environment=cast.development, user=None,
        group=Group.objects.get(name=name), role=role, prefix="", expires_at=None,
    )  # fmt: skip


@pytest.mark.every_database
def test_a_group_is_pushed_filled_renamed_and_deleted(cast: Cast, scim: Scim, events: Events) -> None:
    bea, bea_user = scim.created("bea")
    carl, _ = scim.created("carl")
    key = made(scim, "Platform", bea, externalId="g1")
    give_role(cast, "Okta/Platform")
    assert [each.role for each in user_principal(bea_user).grants] == ["reader"]
    group = scim.call("get", f"/Groups/{key}").json()
    place = f"http://testserver/scim/v2/Users/{bea}"
    assert group["members"] == [{"value": bea, "$ref": place}]
    assert (group["displayName"], group["externalId"], group["meta"]["version"]) == (
        "Platform",
        "g1",
        'W/"1"',
    )
    person = scim.call("get", f"/Users/{bea}").json()
    assert [(each["value"], each["display"]) for each in person["groups"]] == [(key, "Platform")]
    # Okta sends the name with each change of members, and Entra its elements with nothing in them.
    add = {"op": "Add", "path": "members", "value": [{"$ref": None, "value": carl}, {"value": carl}]}
    assert (
        patch(scim, key, {"op": "replace", "value": {"id": key, "displayName": "Core"}}, add).status_code
        == 200
    )
    assert (members(scim, key), Group.objects.get(name="Okta/Platform").pk > 0) == (["bea", "carl"], True)
    assert patch(scim, key, {"op": "remove", "path": f'members[value eq "{bea}"]'}).status_code == 200
    assert members(scim, key) == ["carl"]
    assert user_principal(bea_user).grants == ()
    assert Departure.objects.get(user=bea_user).ended_by_name == "Okta"
    assert (
        patch(scim, key, {"op": "Remove", "path": "members", "value": [{"value": carl}]}).status_code == 200
    )
    both = {"op": "replace", "path": "members", "value": [{"value": bea}, {"value": carl}]}
    assert patch(scim, key, both).status_code == 200
    assert members(scim, key) == ["bea", "carl"]
    count = len(events(Action.GROUP_CHANGE))
    assert patch(scim, key, both, add).status_code == 200
    assert len(events(Action.GROUP_CHANGE)) == count
    assert scim.call("delete", f"/Groups/{key}").status_code == 204
    assert scim.call("get", f"/Groups/{key}").status_code == 404
    assert (GroupMember.objects.count(), Group.objects.filter(name="Okta/Platform").exists()) == (0, True)
    assert user_principal(bea_user).grants == ()
    assert {event.actor_name for event in events(Action.GROUP_CHANGE)} == {"Okta"}
    assert not [*run_checks()]


def test_a_group_that_has_changed_meanwhile_is_not_deleted(scim: Scim) -> None:
    key = made(scim)
    seen = scim.call("get", f"/Groups/{key}").json()["meta"]["version"]
    assert patch(scim, key, {"op": "replace", "value": {"displayName": "Core"}}).status_code == 200
    assert scim.call("delete", f"/Groups/{key}", **{"if-match": seen}).status_code == 412
    assert scim.call("get", f"/Groups/{key}").status_code == 200


@pytest.mark.every_database
def test_a_put_replaces_a_group_and_a_group_without_roles_is_deleted_whole(scim: Scim) -> None:
    bea, _ = scim.created("bea")
    key = made(scim, "Platform", bea)
    answer = scim.call("put", f"/Groups/{key}", {"schemas": [GROUP.urn], "displayName": "Core"})
    assert ("members" in answer.json(), answer.json()["displayName"]) == (False, "Core")
    scim.call("delete", f"/Groups/{key}")
    assert not Group.objects.exists()
    assert not ProvisionedGroup.objects.exists()


@pytest.mark.parametrize("value", ["x", "", str(UUID(int=1)), "group", "{bea}x"])
def test_an_unknown_member_applies_nothing(scim: Scim, value: str) -> None:
    bea, _ = scim.created("bea")
    key = made(scim, "Platform")
    given = key if value == "group" else value.format(bea=bea)
    rename = {"op": "replace", "path": "displayName", "value": "Core"}
    answer = patch(
        scim, key, rename, {"op": "add", "path": "members", "value": [{"value": bea}, {"value": given}]}
    )
    if value == "":
        # No element at all, as providers send it.
        assert (answer.status_code, members(scim, key)) == (200, ["bea"])
        return
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")
    assert given[:40] in answer.json()["detail"]
    assert scim.call("get", f"/Groups/{key}").json()["displayName"] == "Platform"
    assert members(scim, key) == []
    assert make(scim, "Another", given).status_code == 400
    assert not Group.objects.filter(name="Okta/Another").exists()


def test_a_person_whom_the_client_deleted_is_no_member(scim: Scim) -> None:
    bea, _ = scim.created("bea")
    assert scim.call("delete", f"/Users/{bea}").status_code == 204
    answer = make(scim, "Platform", bea)
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")
    assert not GroupMember.objects.exists()


def test_people_of_another_client_are_no_members(cast: Cast, scim: Scim) -> None:
    other = Scim(cast, name="Entra", preset="entra")
    bea, _ = other.created("bea")
    assert make(scim, "Platform", bea).status_code == 400
    key = made(other, "Platform", bea)
    for method in ("get", "delete"):
        assert scim.call(method, f"/Groups/{key}").status_code == 404
    assert patch(scim, key, {"op": "remove", "path": "members"}).status_code == 404
    assert scim.call("get", "/Groups").json()["totalResults"] == 0
    # As Entra's document asks.
    assert (
        patch(other, key, {"op": "Remove", "path": "members", "value": [{"value": bea}]}).status_code == 204
    )
    assert members(other, key) == []


def test_the_client_alone_decides_who_is_in_it(cast: Cast, scim: Scim) -> None:
    bea, user = scim.created("bea")
    key = made(scim, "Platform", bea)
    group, root = Group.objects.get(), cast.principal(cast.root)
    member = GroupMember.objects.get()
    for act in (
        lambda: groups.add_to_group(actor=root, user=cast.erin, group=group),
        lambda: groups.remove_from_group(actor=root, member=member),
        lambda: groups.delete_group(actor=root, group=group),
    ):
        with pytest.raises(Conflict, match="SCIM client decides"):
            act()
    # Once it is removed they are frozen: nobody joins, and what is left can be taken away.
    scim_clients.remove_client(actor=scim.root, client=scim.row)
    assert user_principal(user) is not None
    with pytest.raises(Conflict):
        groups.add_to_group(actor=root, user=cast.erin, group=group)
    groups.remove_from_group(actor=root, member=member)
    groups.delete_group(actor=root, group=group)
    assert not ProvisionedGroup.objects.filter(uuid=key).exists()
    assert not [*run_checks()]


def test_a_group_of_the_same_name_is_another_one(cast: Cast, scim: Scim) -> None:
    by_hand = groups.create_group(actor=cast.principal(cast.root), name="Okta/Platform")
    made(scim, "Platform")
    assert ProvisionedGroup.objects.get().group != by_hand
    assert ProvisionedGroup.objects.get().group.name == "Okta/Platform-2"
    for name in ("Platform", "PLATFORM"):
        assert make(scim, name).json()["scimType"] == "uniqueness"
    other = made(scim, "Other")
    assert patch(scim, other, {"op": "replace", "value": {"displayName": "platform"}}).status_code == 409


@pytest.mark.every_database
@pytest.mark.parametrize("how", ["patch", "delete"])
def test_who_ends_leaves_the_groups_of_the_client(cast: Cast, scim: Scim, how: str) -> None:
    bea, user = scim.created("bea")
    key = made(scim, "Platform", bea)
    version = scim.call("get", f"/Groups/{key}")["ETag"]
    other = groups.create_group(actor=cast.principal(cast.root), name="by hand")
    groups.add_to_group(actor=cast.principal(cast.root), user=user, group=other)
    assert (
        scim.activate(bea, False) if how == "patch" else scim.call("delete", f"/Users/{bea}")
    ).status_code < 300
    assert members(scim, key) == []
    # Who has seen the group before puts nobody back.
    assert scim.call("get", f"/Groups/{key}", **{"if-none-match": version}).status_code == 200
    body = {"schemas": [GROUP.urn], "displayName": "Platform", "members": [{"value": bea}]}
    assert scim.call("put", f"/Groups/{key}", body, **{"if-match": version}).status_code == 412
    assert [row.group for row in GroupMember.objects.filter(user=user)] == [other]
    assert Departure.objects.filter(user=user, kind="moved").count() == 0


@pytest.mark.every_database
@pytest.mark.parametrize("by", ["client", "administrator"])
def test_who_ended_is_put_into_no_group_and_has_no_role_of_one_after_the_return(
    cast: Cast, scim: Scim, by: str, events: Events
) -> None:
    bea, user = scim.created("bea@example.com")
    cid, _ = scim.created("cid@example.com")
    scim.activate(bea, False)
    key = made(scim, "Platform", bea, cid)
    group = ProvisionedGroup.objects.get().group
    grant(
        actor=cast.principal(cast.alice), environment=cast.development, user=None, group=group,
        role="editor", prefix="", expires_at=None,
    )  # fmt: skip
    add = {"op": "add", "path": "members", "value": [{"value": bea}]}
    before = [patch(scim, key, add) for _ in range(2)][-1]
    assert [each["value"] for each in before.json()["members"]] == [cid]
    # It is no change, and leaves no event.
    assert before.json()["meta"]["version"] == 'W/"1"'
    assert [json.loads(event.details).get("users") for event in events(Action.GROUP_CHANGE)] == [
        None,
        ["cid"],
    ]
    if by == "client":
        assert scim.activate(bea, True).status_code == 200
    else:
        update_user(actor=scim.root, user=User.objects.get(pk=user.pk), is_active=True)
    assert user_principal(User.objects.get(pk=user.pk)).grants == ()
    # Pushed again, the person is in.
    assert len(patch(scim, key, add).json()["members"]) == 2
    assert {each.role for each in user_principal(User.objects.get(pk=user.pk)).grants} == {"editor"}
    assert not [*run_checks()]


def test_a_grant_that_was_approved_holds_for_who_comes_later(cast: Cast, scim: Scim) -> None:
    bea, _ = scim.created("bea")
    carl, carl_user = scim.created("carl")
    key = made(scim, "Platform", bea)
    second = Membership.objects.get(user=cast.bob, environment=cast.development)
    change_membership(actor=cast.principal(cast.alice), membership=second, role="manager")
    update_environment(actor=cast.principal(cast.root), environment=cast.development, protected=True)
    cast.development.refresh_from_db()
    with pytest.raises(ApprovalNeeded) as asked:
        give_role(cast, "Okta/Platform")
    request = Approval.objects.get(pk=asked.value.approval)
    assert "Okta decides who is in it" in json.dumps(request.summary)
    add = {"op": "add", "path": "members", "value": [{"value": carl}]}
    assert patch(scim, key, add).status_code == 200
    approvals.approve(actor=cast.principal(cast.bob), approval=request)
    give_role(cast, "Okta/Platform")
    assert [each.role for each in user_principal(User.objects.get(pk=carl_user.pk)).grants] == ["reader"]


def test_filters_and_parts_of_groups(scim: Scim) -> None:
    bea, _ = scim.created("bea")
    key = made(scim, "Platform", bea, externalId="g1")
    made(scim, "Core")

    def found(query: str) -> list[str]:
        return [each["displayName"] for each in scim.call("get", f"/Groups?{query}").json()["Resources"]]

    assert found('filter=displayName eq "PLATFORM"') == ["Platform"]
    assert found('filter=externalId eq "g1"') == ["Platform"]
    assert found(f'filter=id eq "{key}" and members eq "{bea}"') == ["Platform"]
    assert found(f'filter=members.value eq "{uuid4()}"') == []
    assert found('filter=id eq "x"') == []
    assert found("startIndex=2&count=1") == ["Core"]
    for path in (f"/Groups/{key}?excludedAttributes=members", f"/Groups/{key}?attributes=displayName"):
        assert "members" not in scim.call("get", path).json()
    body = {
        "schemas": [f"{MESSAGES}SearchRequest"],
        "filter": "meta.resourceType pr",
        "count": 2,
        "startIndex": 2,
    }
    page = scim.call("post", "/.search", body).json()
    assert (page["totalResults"], [each["meta"]["resourceType"] for each in page["Resources"]]) == (
        3, ["Group", "Group"],
    )  # fmt: skip
    assert scim.call("post", "/.search", body | {"filter": 'userName eq "bea"'}).json()["totalResults"] == 1
    assert scim.call("post", "/.search", body | {"filter": "nothing pr"}).status_code == 400


def test_a_thousand_members_are_few_statements(
    cast: Cast, scim: Scim, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    client, people = ScimClient.objects.get(), []
    users = User.objects.bulk_create([User(username=f"p{number}", password="!") for number in range(1200)])
    people = ProvisionedUser.objects.bulk_create(
        [ProvisionedUser(client=client, user=user, user_name=user.username) for user in users]
    )
    key = made(scim, "All")
    every = [{"value": str(person.uuid)} for person in people]
    with django_assert_max_num_queries(60):
        answer = patch(scim, key, {"op": "replace", "path": "members", "value": every})
    # Large groups are answered without their members.
    assert (answer.status_code, "members" in answer.json()) == (200, False)
    assert len(members(scim, key)) == 1200
    assert (
        patch(scim, key, {"op": "add", "path": "members", "value": every[:1001]}).json()["scimType"]
        == "tooMany"
    )
    with django_assert_max_num_queries(60):
        assert (
            patch(scim, key, {"op": "remove", "path": f'members[value eq "{people[0].uuid}"]'}).status_code
            == 200
        )
    assert GroupMember.objects.count() == 1199
    assert not [*run_checks()]


def test_a_large_group_is_filled_without_all_its_people_in_memory(
    scim: Scim, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [scim.created(f"p{n}@example.com")[0] for n in range(9)]
    monkeypatch.setattr(scim_groups, "_AT_ONCE", 3)
    seen, put_in = list[int](), scim_groups._put_in

    def counting(*arguments: Any) -> None:
        gc.collect()
        seen.append(sum(isinstance(each, ProvisionedUser) for each in gc.get_objects()))
        put_in(*arguments)

    monkeypatch.setattr(scim_groups, "_put_in", counting)
    gc.collect()
    before = sum(isinstance(each, ProvisionedUser) for each in gc.get_objects())
    made(scim, "All", *ids)
    assert [count - before <= 6 for count in seen] == [True] * 3
    assert GroupMember.objects.count() == 9


def without(scim: Scim, key: str) -> int:
    """Take everybody out of a group, and return how many statements that takes."""
    with CaptureQueriesContext(connection) as found:
        assert (
            scim.call("put", f"/Groups/{key}", {"schemas": [GROUP.urn], "displayName": "All"}).status_code
            == 200
        )
    return len(found)


def test_who_leaves_a_group_without_a_role_has_not_moved(scim: Scim) -> None:
    key, _ = scim.created("bea@example.com")
    group = made(scim, "All", key)
    without(scim, group)
    assert not GroupMember.objects.exists()
    assert not Departure.objects.exists()


@pytest.mark.every_database
def test_many_people_are_moved_by_as_many_statements_as_few(cast: Cast, scim: Scim) -> None:
    ids = [scim.created(f"p{n}@example.com")[0] for n in range(9)]
    group = made(scim, "All")
    give_role(cast, "Okta/All")

    def fill(*members: str) -> None:
        patch(
            scim, group, {"op": "replace", "path": "members", "value": [{"value": each} for each in members]}
        )

    def departures() -> dict[str, Any]:
        rows = Departure.objects.filter(kind="moved").select_related("user")
        assert all(row.is_authentic() for row in rows if row.user.username != "p1")
        return {row.user.username: row.at for row in rows}

    fill(*ids[:2])
    first, few = without(scim, group), departures()
    assert len(few) == 2
    fill(*ids)
    assert without(scim, group) <= first + 2
    assert len(departures()) == 9
    # Those who moved before move again; a forged row keeps nobody from losing access, and stays as it is.
    Departure.objects.filter(user__username="p1").update(ended_by_uuid=uuid4())
    before = departures()
    fill(*ids)
    assert without(scim, group) <= first + 2
    assert {name for name, at in departures().items() if at > before[name]} == {*before} - {"p1"}


def test_no_client_makes_an_administrator(scim: Scim) -> None:
    _, bea = scim.created(
        "bea@example.com", roles=[{"value": "admin", "primary": True}], entitlements=["admin"]
    )
    assert bea.role == "user"
