from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from environments_app.authorization.principals import (
    load_principal,
    refresh_principal,
    system_principal,
    token_principal,
    user_principal,
)
from environments_app.models import Environment, GroupMember, Membership, Role, ServiceToken, User
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue

Sql = Callable[..., None]
Events = Callable[..., list[AuditEvent]]
pytestmark = pytest.mark.every_database_weekly


def grants(cast: Cast, user: User) -> set[tuple[str, str, str]]:
    return {(grant.environment_name, grant.role, grant.prefix) for grant in cast.principal(user).grants}


def join(user: User, name: str) -> Group:
    group = Group.objects.create(name=name)
    GroupMember.objects.create(user=user, group=group)
    return group


def test_it_collects_direct_and_group_memberships(cast: Cast) -> None:
    group = join(cast.bob, "ops")
    Membership.objects.create(environment=cast.production, group=group, role=Role.EDITOR, prefix="pay")
    assert grants(cast, cast.bob) == {("development", "reader", ""), ("production", "editor", "pay")}


def test_it_takes_two_queries(cast: Cast, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    group = join(cast.bob, "ops")
    Membership.objects.create(environment=cast.production, group=group, role=Role.EDITOR)
    user = User.objects.get(pk=cast.bob.pk)
    user_principal(user)
    with django_assert_num_queries(2):
        assert len(user_principal(user).grants) == 2


def test_an_expired_membership_grants_nothing(cast: Cast) -> None:
    membership = Membership.objects.create(
        environment=cast.production,
        user=cast.bob,
        role=Role.READER,
        expires_at=timezone.now() + timedelta(hours=1),
    )
    assert ("production", "reader", "") in grants(cast, cast.bob)
    membership.expires_at = timezone.now() - timedelta(seconds=1)
    membership.save()
    assert ("production", "reader", "") not in grants(cast, cast.bob)


def test_someone_inactive_has_no_rights(cast: Cast) -> None:
    cast.root.is_active = False
    cast.root.save()
    principal = cast.principal(cast.root)
    assert not principal.is_admin
    assert principal.grants == ()


@pytest.mark.parametrize(
    ("column", "value"),
    [("role", "manager"), ("prefix", "pay"), ("expires_at", "2099-01-01 00:00:00"), ("uuid", "0" * 32)],
)
def test_an_edited_membership_grants_nothing_and_is_recorded(
    cast: Cast, sql: Sql, events: Events, column: str, value: str
) -> None:
    membership = Membership.objects.get(user=cast.vera)
    sql(f"UPDATE environments_app_membership SET {column} = %s WHERE id = %s", value, membership.pk)
    assert grants(cast, cast.vera) == set()
    (event,) = events(Action.INTEGRITY_VIOLATION)
    assert event.object_kind == "membership"
    assert event.outcome == "failed"


@pytest.mark.parametrize("column", ["environment_id", "user_id"])
def test_a_membership_pointed_elsewhere_grants_nothing(
    cast: Cast, sql: Sql, events: Events, column: str
) -> None:
    membership = Membership.objects.get(user=cast.alice, environment=cast.development)
    take_away(Membership.objects.filter(user=cast.alice, environment=cast.production))
    target = {"environment_id": cast.production.pk, "user_id": cast.charlie.pk}[column]
    sql(f"UPDATE environments_app_membership SET {column} = %s WHERE id = %s", target, membership.pk)
    assert grants(cast, cast.alice) == set()
    assert grants(cast, cast.charlie) == set()
    assert events(Action.INTEGRITY_VIOLATION)


def test_an_inserted_membership_grants_nothing(cast: Cast, sql: Sql, events: Events) -> None:
    sql(
        "INSERT INTO environments_app_membership (uuid, row_mac, environment_id, user_id, role, prefix, source, created_at)"
        " SELECT %s, row_mac, environment_id, %s, role, prefix, source, created_at FROM environments_app_membership"
        " WHERE user_id = %s AND environment_id = %s",
        "f" * 32,
        cast.charlie.pk,
        cast.alice.pk,
        cast.development.pk,
    )
    assert Membership.objects.filter(user=cast.charlie).exists()
    assert grants(cast, cast.charlie) == set()
    assert events(Action.INTEGRITY_VIOLATION)


@pytest.mark.parametrize(
    ("column", "value"),
    [("role", "admin"), ("is_active", True), ("password", "md5$x$y"), ("username", "root2")],
)
def test_an_edited_user_has_no_rights(
    cast: Cast, sql: Sql, events: Events, column: str, value: object
) -> None:
    if column == "is_active":
        cast.bob.is_active = False
        cast.bob.save()
    sql(f"UPDATE environments_app_user SET {column} = %s WHERE id = %s", value, cast.bob.pk)
    principal = cast.principal(cast.bob)
    assert not principal.is_admin
    assert principal.grants == ()
    assert events(Action.INTEGRITY_VIOLATION, object_kind="user")


def test_an_inserted_place_in_a_group_grants_nothing(cast: Cast, sql: Sql, events: Events) -> None:
    group = join(cast.bob, "ops")
    Membership.objects.create(environment=cast.production, group=group, role=Role.READER)
    sql(
        "UPDATE environments_app_groupmember SET user_id = %s WHERE user_id = %s",
        cast.charlie.pk,
        cast.bob.pk,
    )
    assert grants(cast, cast.charlie) == set()
    assert events(Action.INTEGRITY_VIOLATION, object_kind="group-member")


def test_an_environment_that_was_renamed_is_nobodys(cast: Cast, sql: Sql) -> None:
    # Swapped names would make people write production's values into development.
    sql("UPDATE environments_app_environment SET name = 'x' WHERE id = %s", cast.development.pk)
    assert grants(cast, cast.bob) == set()


def test_a_forged_token_has_no_rights(cast: Cast, sql: Sql) -> None:
    token, _ = issue(
        actor=system_principal(is_admin=True), environment=cast.development, role="viewer", name="ci"
    )
    sql("UPDATE environments_app_servicetoken SET role = 'manager' WHERE id = %s", token.pk)
    assert token_principal(ServiceToken.objects.select_related("environment").get()).grants == ()


def test_a_queued_job_asks_again(cast: Cast) -> None:
    before = cast.principal(cast.bob)
    actor = Actor(kind=before.kind, uuid=before.uuid, name=before.name, address="192.0.2.9")
    assert load_principal(actor).grants == before.grants
    assert load_principal(actor).address == "192.0.2.9"
    take_away(Membership.objects.filter(user=cast.bob))
    assert load_principal(actor).grants == ()


def test_who_asks_again_has_no_fresher_proof_and_no_other_approval(cast: Cast) -> None:
    asks = replace(cast.principal(cast.bob), confirmed=False, approval=UUID(int=1), session="key")
    assert refresh_principal(asks) == asks
    take_away(Membership.objects.filter(user=cast.bob))
    assert refresh_principal(asks) == replace(asks, grants=())


@pytest.mark.parametrize("kind", list(ActorKind))
def test_an_actor_that_does_not_exist_has_no_rights(cast: Cast, kind: ActorKind) -> None:
    principal = load_principal(Actor(kind=kind, uuid=Environment().uuid, name="ghost"))
    assert not principal.is_admin
    assert principal.grants == ()
