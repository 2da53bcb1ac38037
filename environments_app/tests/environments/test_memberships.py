from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.environments import groups, memberships
from environments_app.errors import (
    BadName,
    Conflict,
    Forbidden,
    InvalidField,
    Invisible,
    LastManager,
    Tampered,
)
from environments_app.models import Membership
from environments_app.tests.cast import Cast

Events = Callable[..., list[AuditEvent]]


def of(cast: Cast, name: str) -> Membership:
    return Membership.objects.get(user__username=name, environment=cast.development)


def test_a_manager_gives_a_role(cast: Cast, events: Events) -> None:
    memberships.grant(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        user=cast.charlie,
        role="reader",
        prefix="pay/",
    )
    assert {(grant.role, grant.prefix) for grant in cast.principal(cast.charlie).grants} == {
        ("reader", "pay")
    }
    (event,) = events(Action.MEMBER_GRANT)
    assert (event.actor_name, event.object_name) == ("alice", "charlie")
    assert '"role":"reader"' in event.details
    assert not events(Action.BREAK_GLASS)


def test_editors_give_no_roles(cast: Cast, events: Events) -> None:
    with pytest.raises(Forbidden):
        memberships.grant(
            actor=cast.principal(cast.erin), environment=cast.development, user=cast.charlie, role="viewer"
        )
    with pytest.raises(Invisible):
        memberships.grant(
            actor=cast.principal(cast.charlie), environment=cast.development, user=cast.charlie, role="viewer"
        )
    assert len(events(Action.MEMBER_GRANT, outcome="denied")) == 2


@pytest.mark.parametrize(
    ("options", "field"),
    [({"role": "owner"}, "role"), ({"role": "admin"}, "role"), ({"expires_at": timezone.now()}, "expires_at"), ({"user": None}, "user")],
)  # fmt: skip
def test_it_refuses_what_makes_no_membership(cast: Cast, options: dict[str, object], field: str) -> None:
    fields = {"user": cast.charlie, "role": "reader"} | options
    with pytest.raises(InvalidField) as refusal:
        memberships.grant(actor=cast.principal(cast.alice), environment=cast.development, **fields)  # type: ignore[arg-type]
    assert refusal.value.field == field


def test_it_refuses_a_second_one_for_a_prefix(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    memberships.grant(actor=alice, environment=cast.development, user=cast.bob, role="editor", prefix="pay")
    with pytest.raises(Conflict):
        memberships.grant(
            actor=alice, environment=cast.development, user=cast.bob, role="viewer", prefix="pay"
        )


def test_it_changes_and_records(cast: Cast, events: Events) -> None:
    soon = timezone.now() + timedelta(days=1)
    changed = memberships.change_membership(
        actor=cast.principal(cast.alice),
        membership=of(cast, "bob"),
        role="editor",
        prefix="a",
        expires_at=soon,
    )
    assert (changed.role, changed.prefix, changed.expires_at) == ("editor", "a", soon)
    assert of(cast, "bob").is_authentic()
    assert len(events(Action.MEMBER_CHANGE)) == 1


def test_what_stays_equal_is_no_change(cast: Cast, events: Events) -> None:
    memberships.change_membership(actor=cast.principal(cast.alice), membership=of(cast, "bob"), role="reader")
    assert not events(Action.MEMBER_CHANGE)


@pytest.mark.parametrize("changes", [{"user": 1}, {"role": "owner"}, {"expires_at": timezone.now()}])
def test_it_refuses_other_changes(cast: Cast, changes: dict[str, object]) -> None:
    with pytest.raises(InvalidField):
        memberships.change_membership(actor=cast.principal(cast.alice), membership=of(cast, "bob"), **changes)


def test_it_refuses_a_prefix_that_is_no_path(cast: Cast) -> None:
    with pytest.raises(BadName):
        memberships.change_membership(
            actor=cast.principal(cast.alice), membership=of(cast, "bob"), prefix="../x"
        )


def test_a_forged_row_is_not_made_genuine_by_a_change(
    cast: Cast, sql: Callable[..., None], events: Events
) -> None:
    membership = of(cast, "vera")
    sql("UPDATE environments_app_membership SET role = 'manager' WHERE id = %s", membership.pk)
    with pytest.raises(Tampered):
        memberships.change_membership(
            actor=cast.principal(cast.alice), membership=of(cast, "vera"), prefix="a"
        )
    assert not of(cast, "vera").is_authentic()
    assert events(Action.INTEGRITY_VIOLATION)


def test_a_forged_row_can_be_removed(cast: Cast, sql: Callable[..., None]) -> None:
    sql("UPDATE environments_app_membership SET role = 'manager' WHERE id = %s", of(cast, "vera").pk)
    memberships.revoke_membership(actor=cast.principal(cast.alice), membership=of(cast, "vera"))
    assert not Membership.objects.filter(user=cast.vera).exists()


def test_revoking_takes_effect_at_once(cast: Cast, events: Events) -> None:
    memberships.revoke_membership(actor=cast.principal(cast.alice), membership=of(cast, "bob"))
    assert cast.principal(cast.bob).grants == ()
    assert events(Action.MEMBER_REVOKE)[0].object_name == "bob"


@pytest.mark.parametrize("actor", ["alice", "root"])
def test_the_last_manager_stays(cast: Cast, actor: str) -> None:
    principal = cast.principal(getattr(cast, actor))
    with pytest.raises(LastManager):
        memberships.revoke_membership(actor=principal, membership=of(cast, "alice"))
    for changes in ({"role": "editor"}, {"prefix": "a"}, {"expires_at": timezone.now() + timedelta(days=1)}):
        with pytest.raises(LastManager):
            memberships.change_membership(actor=principal, membership=of(cast, "alice"), **changes)
    assert of(cast, "alice").role == "manager"


def test_one_of_two_managers_may_go(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    memberships.grant(actor=alice, environment=cast.development, user=cast.bob, role="manager", prefix="pay")
    with pytest.raises(LastManager):
        memberships.revoke_membership(actor=alice, membership=of(cast, "alice"))
    memberships.change_membership(actor=alice, membership=of(cast, "erin"), role="manager")
    memberships.revoke_membership(actor=alice, membership=of(cast, "alice"))


def test_managers_who_do_not_count_keep_nobody_else(cast: Cast, sql: Callable[..., None]) -> None:
    alice = cast.principal(cast.alice)
    cast.charlie.is_active = False
    cast.charlie.save()
    memberships.grant(actor=alice, environment=cast.development, user=cast.charlie, role="manager")
    sql("UPDATE environments_app_membership SET role = 'manager' WHERE user_id = %s", cast.vera.pk)
    with pytest.raises(LastManager):
        memberships.revoke_membership(actor=alice, membership=of(cast, "alice"))


def test_it_is_found_within_its_environment_only(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    membership = of(cast, "bob")
    assert (
        memberships.find_membership(actor=alice, environment=cast.development, id=membership.pk) == membership
    )
    with pytest.raises(Invisible):
        memberships.find_membership(actor=alice, environment=cast.production, id=of(cast, "bob").pk)
    with pytest.raises(Forbidden):
        memberships.find_membership(
            actor=cast.principal(cast.bob), environment=cast.development, id=of(cast, "bob").pk
        )


@pytest.mark.parametrize("state", ["managing", "empty", "all off", "for a while", "of a part", "edited"])
def test_a_group_is_another_manager_while_somebody_in_it_manages(
    cast: Cast, state: str, sql: Callable[..., None]
) -> None:
    root, alice = cast.principal(cast.root), cast.principal(cast.alice)
    group = groups.create_group(actor=root, name="ops")
    if state != "empty":
        groups.add_to_group(actor=root, user=cast.charlie, group=group)
    held = Membership(environment=cast.development, group=group, role="manager")
    if state == "for a while":
        held.expires_at = timezone.now() + timedelta(days=1)
    if state == "of a part":
        held.prefix = "part"
    held.save()
    if state == "all off":
        cast.charlie.is_active = False
        cast.charlie.save()
    if state == "edited":
        sql("UPDATE environments_app_membership SET source = 'x' WHERE id = %s", held.pk)
    if state == "managing":
        memberships.revoke_membership(actor=alice, membership=of(cast, "alice"))
        assert not Membership.objects.filter(user=cast.alice, environment=cast.development).exists()
        return
    with pytest.raises(LastManager):
        memberships.revoke_membership(actor=alice, membership=of(cast, "alice"))
