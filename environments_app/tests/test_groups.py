from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group

from audit_app.actions import Action
from audit_app.models import AuditEvent
from environments_app import groups, members
from environments_app.errors import Conflict, Forbidden, InvalidField, NameInUse
from environments_app.models import GroupMember
from environments_app.tests.cast import Cast

Events = Callable[..., list[AuditEvent]]


def test_a_groups_memberships_hold_for_its_members(cast: Cast, events: Events) -> None:
    root = cast.principal(cast.root)
    group = groups.create_group(actor=root, name="Ops")
    members.grant(actor=cast.principal(cast.alice), environment=cast.production, group=group, role="reader")
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
