"""The approval of a group's role covers the members that the approver saw, and no one who joins later."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from environments_app.approvals import applying, gate, group_members
from environments_app.approvals import service as approvals
from environments_app.approvals.group_members import lock_group
from environments_app.environments import groups, memberships
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Conflict
from environments_app.models import Approval, ApprovalState, GroupMember, Membership, Role, User
from environments_app.tests.cast import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]


@pytest.fixture
def group(cast: Cast) -> Group:
    """A group of bob, without a role in production, which alice and erin manage and which is protected."""
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    found = groups.create_group(actor=cast.principal(cast.root), name="Ops")
    groups.add_to_group(actor=cast.principal(cast.root), user=cast.bob, group=found)
    environments.update_environment(
        actor=cast.principal(cast.alice), environment=cast.production, protected=True
    )
    cast.production.refresh_from_db()
    return found


def held(cast: Cast, act: Callable[[], object], by: User | None = None) -> Approval:
    """Ask, and hold it, so that time passes between its approval and its act."""
    with pytest.raises(ApprovalNeeded) as raised:
        act()
    asked = fresh(raised.value.approval)
    return approvals.explain(actor=cast.principal(by or cast.alice), approval=asked, reason="", held=True)


def fresh(pk: int) -> Approval:
    return Approval.objects.select_related("environment").get(pk=pk)


def grant(cast: Cast, group: Group) -> Callable[[], object]:
    return lambda: memberships.grant(
        actor=cast.principal(cast.alice), environment=cast.production, group=group, role="editor"
    )


def join(cast: Cast, user: User, group: Group) -> GroupMember:
    return groups.add_to_group(actor=cast.principal(cast.root), user=user, group=group)


def carry_out(cast: Cast, asked: Approval, by: User | None = None) -> Any:
    return approvals.carry_out(actor=cast.principal(by or cast.alice), approval=fresh(asked.pk))


def test_the_approver_sees_the_members(cast: Cast, group: Group, signed_in: Callable[[User], Client]) -> None:
    join(cast, cast.vera, group)
    asked = held(cast, grant(cast, group))
    client = signed_in(cast.erin)
    lines = client.get(f"/api/approvals/{asked.pk}").json()["summary"]
    assert {"label": "Members of the group", "before": "", "after": "2: bob, vera"} in lines
    assert "2: bob, vera" in client.get(reverse("approval-detail", args=[asked.pk])).content.decode()
    approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    carry_out(cast, asked)
    assert Membership.objects.get(group=group).role == Role.EDITOR


def test_who_joins_after_the_approval_gets_nothing(cast: Cast, group: Group) -> None:
    asked = held(cast, grant(cast, group))
    approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    join(cast, cast.charlie, group)
    with pytest.raises(ApprovalVoid, match=r"Ops have changed .*: added charlie\. Request approval again"):
        carry_out(cast, asked)
    assert not Membership.objects.filter(group=group).exists()
    assert fresh(asked.pk).state == ApprovalState.APPROVED


def test_who_leaves_and_another_who_joins_are_both_named(cast: Cast, group: Group) -> None:
    asked = held(cast, grant(cast, group))
    groups.remove_from_group(actor=cast.principal(cast.root), member=GroupMember.objects.get(group=group))
    join(cast, cast.charlie, group)
    with pytest.raises(ApprovalVoid, match="added charlie; removed bob"):
        approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    assert fresh(asked.pk).state == ApprovalState.PENDING
    again = held(cast, grant(cast, group))
    assert again.pk != asked.pk
    approvals.reject(actor=cast.principal(cast.erin), approval=asked)
    approvals.approve(actor=cast.principal(cast.erin), approval=again)
    carry_out(cast, again)


def test_who_joins_between_the_check_and_the_act_gets_nothing(cast: Cast, group: Group) -> None:
    asked = held(cast, grant(cast, group))
    approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    ask = gate.require_approval

    def meanwhile(**given: Any) -> gate.ApprovalGrant:
        approval = ask(**given)
        join(cast, cast.charlie, group)
        return approval

    with (
        patch.object(memberships, "require_approval", meanwhile),
        pytest.raises(ApprovalVoid, match="added charlie"),
    ):
        carry_out(cast, asked)
    assert not Membership.objects.filter(group=group).exists()


def test_a_role_given_between_the_check_and_the_joining_is_not_joined(cast: Cast, group: Group) -> None:
    asked = held(cast, grant(cast, group))
    approvals.approve(actor=cast.principal(cast.erin), approval=asked)

    def meanwhile(id: int) -> None:
        carry_out(cast, asked)
        lock_group(id)

    with patch.object(groups, "lock_group", meanwhile), pytest.raises(Conflict, match="role has changed"):
        join(cast, cast.charlie, group)
    assert not GroupMember.objects.filter(user=cast.charlie).exists()


def test_a_wider_role_of_a_group_covers_its_members_too(cast: Cast, group: Group) -> None:
    reader = Membership.objects.create(environment=cast.production, group=group, role=Role.READER)

    def widen() -> object:
        row = Membership.objects.get(pk=reader.pk)
        return memberships.change_membership(
            actor=cast.principal(cast.alice), membership=row, role=Role.EDITOR
        )

    asked = held(cast, widen)
    assert "1: bob" in str(asked.summary)
    approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    # The group has a role there, so this needs an approval of its own.
    joined = held(cast, lambda: join(cast, cast.charlie, group), cast.root)
    assert "reader: All secrets" in str(joined.summary)
    approvals.approve(actor=cast.principal(cast.erin), approval=joined)
    carry_out(cast, joined, cast.root)
    with pytest.raises(ApprovalVoid, match="added charlie"):
        carry_out(cast, asked)
    again = held(cast, widen)
    approvals.approve(actor=cast.principal(cast.erin), approval=again)
    carry_out(cast, again)
    assert Membership.objects.get(pk=reader.pk).role == Role.EDITOR


def test_joining_is_approved_for_the_roles_that_the_approver_saw(cast: Cast, group: Group) -> None:
    reader = Membership.objects.create(environment=cast.production, group=group, role=Role.READER)
    joined = held(cast, lambda: join(cast, cast.charlie, group), cast.root)
    approvals.approve(actor=cast.principal(cast.erin), approval=joined)
    with pytest.raises(ApprovalNeeded) as raised:
        memberships.change_membership(actor=cast.principal(cast.alice), membership=reader, role=Role.MANAGER)
    applied = applying.approve_and_apply(
        actor=cast.principal(cast.erin), approval=fresh(raised.value.approval)
    )
    assert applied.done
    with pytest.raises(ApprovalVoid, match="roles of the group Ops have changed"):
        carry_out(cast, joined, cast.root)
    assert not GroupMember.objects.filter(user=cast.charlie).exists()


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/admin/environments_app/user/{user}/acts/add_to_group/", {"group": "{group}"}),
        ("/admin/environments_app/groupmember/add/", {"user": "{user}", "group": "{group}"}),
    ],
)
def test_every_page_asks_before_somebody_joins_a_group_with_a_role(
    cast: Cast, group: Group, signed_in: Callable[[User], Client], path: str, field: dict[str, str]
) -> None:
    Membership.objects.create(environment=cast.production, group=group, role=Role.VIEWER)
    ids = {"user": cast.charlie.pk, "group": group.pk}
    given = {name: text.format(**ids) for name, text in field.items()}
    before = Approval.objects.count()
    signed_in(cast.root).post(path.format(**ids), given)
    assert Approval.objects.count() == before + 1
    assert not GroupMember.objects.filter(user=cast.charlie).exists()


def test_members_and_roles_of_another_group_or_environment_are_no_change(cast: Cast, group: Group) -> None:
    other = Group.objects.create(name="Other")
    asked = held(cast, grant(cast, group))
    join(cast, cast.charlie, other)
    memberships.grant(
        actor=cast.principal(cast.alice), environment=cast.development, group=group, role=Role.VIEWER
    )
    Membership.objects.create(environment=cast.production, group=other, role=Role.VIEWER)
    assert group_members.roles_of(group.pk, cast.production) == []
    for there in ((group, cast.development), (other, cast.production)):
        assert group_members.roles_of(there[0].pk, there[1]) == [["viewer", "", None]]
    approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    carry_out(cast, asked)
    assert Membership.objects.get(group=group, environment=cast.production).role == Role.EDITOR
