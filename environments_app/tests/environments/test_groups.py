from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authorization.rows import access_rows
from environments_app.environments import groups, memberships
from environments_app.errors import Conflict, Forbidden, InvalidField, NameInUse
from environments_app.models import GroupMember, User
from environments_app.tests.cast import Cast

Events = Callable[..., list[AuditEvent]]


def test_a_groups_memberships_hold_for_its_members(cast: Cast, events: Events) -> None:
    root = cast.principal(cast.root)
    group = groups.create_group(actor=root, name="Ops")
    memberships.grant(
        actor=cast.principal(cast.alice), environment=cast.production, group=group, role="reader"
    )
    member = groups.add_to_group(actor=root, user=cast.charlie, group=group)
    assert [grant.role for grant in cast.principal(cast.charlie).grants] == ["reader"]
    groups.remove_from_group(actor=root, member=member)
    assert cast.principal(cast.charlie).grants == ()
    assert len(events(Action.GROUP_CHANGE)) == 3


def test_it_refuses_twins(cast: Cast) -> None:
    root = cast.principal(cast.root)
    group = groups.create_group(actor=root, name="Ops")
    with pytest.raises(NameInUse):
        groups.create_group(actor=root, name="Ops")
    groups.add_to_group(actor=root, user=cast.bob, group=group)
    with pytest.raises(Conflict):
        groups.add_to_group(actor=root, user=cast.bob, group=group)
    with pytest.raises(InvalidField):
        groups.create_group(actor=root, name=" ")


def test_only_an_empty_group_goes(cast: Cast) -> None:
    root = cast.principal(cast.root)
    group = groups.create_group(actor=root, name="Ops")
    groups.add_to_group(actor=root, user=cast.bob, group=group)
    with pytest.raises(Conflict):
        groups.delete_group(actor=root, group=group)
    groups.remove_from_group(actor=root, member=GroupMember.objects.get())
    groups.delete_group(actor=root, group=group)
    assert not Group.objects.exists()


def test_only_administrators_change_groups(cast: Cast) -> None:
    with pytest.raises(Forbidden):
        groups.create_group(actor=cast.principal(cast.alice), name="Ops")


def test_groups_that_exchange_their_names_grant_nothing(
    cast: Cast, sql: Callable[..., None], events: Events
) -> None:
    root = cast.principal(cast.root)
    interns, trusted = (groups.create_group(actor=root, name=name) for name in ("interns", "trusted"))
    groups.add_to_group(actor=root, user=cast.charlie, group=interns)
    groups.add_to_group(actor=root, user=cast.bob, group=trusted)
    for name, group in (("swap", interns), ("interns", trusted), ("trusted", interns)):
        sql("UPDATE auth_group SET name = %s WHERE id = %s", name, group.pk)
    named = Group.objects.get(name="trusted")
    memberships.grant(
        actor=cast.principal(cast.alice), environment=cast.production, group=named, role="reader"
    )
    assert cast.principal(cast.charlie).grants == ()
    assert events(Action.INTEGRITY_VIOLATION)
    assert len([problem for problem in access_rows() if problem.kind == "edited"]) == 2


def test_a_renamed_group_loses_what_it_was_given(cast: Cast, sql: Callable[..., None]) -> None:
    root = cast.principal(cast.root)
    group = groups.create_group(actor=root, name="Ops")
    memberships.grant(
        actor=cast.principal(cast.alice), environment=cast.production, group=group, role="reader"
    )
    sql("UPDATE auth_group SET name = 'ops' WHERE id = %s", group.pk)
    assert [problem.kind for problem in access_rows()] == ["edited"]


def test_the_admin_renames_no_group(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    group = groups.create_group(actor=cast.principal(cast.root), name="Ops")
    # The form changes its members alone.
    answer = signed_in(cast.root).post(f"/admin/auth/group/{group.pk}/change/", {"name": "Other"})
    assert answer.status_code == 302
    assert Group.objects.get().name == "Ops"
