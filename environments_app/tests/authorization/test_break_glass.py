"""Ways to values that administrators open: allowed, and each recorded as breaking the glass."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal, token_principal
from environments_app.environments import groups, memberships
from environments_app.models import Alert, Delivery, Environment, Membership, Role, User, UserRole
from environments_app.notifications.service import deliver_due
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens import service as tokens
from environments_app.users import accounts

Events = Callable[..., list[AuditEvent]]
NEW = "another-long-passphrase"


def admin_token(cast: Cast) -> Principal:
    token, _ = tokens.issue(actor=cast.principal(cast.root), environment=None, role="admin", name="ops")
    return token_principal(token)


def administrators(cast: Cast) -> list[Principal]:
    return [cast.principal(cast.root), admin_token(cast)]


@pytest.mark.parametrize("role", ["reader", "editor", "manager"])
@pytest.mark.parametrize("holder", ["root", "charlie"])
def test_granting_a_role_that_reads_breaks_it_whoever_it_is_for(
    cast: Cast, events: Events, role: str, holder: str
) -> None:
    for number, actor in enumerate(administrators(cast), 1):
        memberships.grant(
            actor=actor,
            environment=cast.production,
            user=getattr(cast, holder),
            role=role,
            prefix=f"p{number}",
        )
        alerts = events(Action.BREAK_GLASS)
        assert len(alerts) == number
        assert (alerts[-1].actor_name, alerts[-1].object_name) == (actor.name, holder)
        assert alerts[-1].stream == f"environment:{cast.production.uuid}"


def test_managers_auditors_and_other_administrators_are_told_and_the_actor_is_not(cast: Cast) -> None:
    other = accounts.create_user(
        actor=cast.principal(cast.root), username="ada", email="", display_name="", password=NEW, role="admin"
    )
    auditors = [User.objects.create_user(name, role=UserRole.AUDITOR) for name in ("audrey", "gone")]
    accounts.disable_user(actor=cast.principal(cast.root), user=auditors[1])
    Delivery.objects.all().delete()
    memberships.grant(
        actor=cast.principal(cast.root), environment=cast.production, user=cast.root, role="reader"
    )
    told = Delivery.objects.filter(kind="break-glass", transport="email")
    assert {each.addressee for each in told} == {cast.alice.uuid, other.uuid, auditors[0].uuid}
    (alert,) = Alert.objects.filter(kind="break-glass", open=True)
    assert (alert.subject, alert.environment) == ("Break-glass access in production", cast.production)
    assert alert.lines[0] == "root granted access to root, without a grant of their own there."
    # Nothing ends it: it is listed for a week, and nobody is told of its end.
    told.delete()
    for days, still in ((6, True), (8, False)):
        Alert.objects.update(opened_at=timezone.now() - timedelta(days=days))
        deliver_due()
        assert Alert.objects.filter(open=True).exists() is still
    assert not Delivery.objects.filter(kind="recovered").exists()


@pytest.mark.parametrize("role", ["reader", "editor", "manager"])
def test_issuing_a_token_that_reads_breaks_it(cast: Cast, events: Events, role: str) -> None:
    for number, actor in enumerate(administrators(cast), 1):
        tokens.issue(actor=actor, environment=cast.production, role=role, name="ci")
        assert len(events(Action.BREAK_GLASS)) == number


def test_who_is_said_to_have_made_a_token_decides_nothing(
    cast: Cast, events: Events, sql: Callable[..., None]
) -> None:
    actor = admin_token(cast)
    sql("UPDATE environments_app_servicetoken SET created_by_id = NULL")
    memberships.grant(actor=actor, environment=cast.production, user=cast.root, role="reader")
    assert events(Action.BREAK_GLASS)


def test_what_reads_no_value_breaks_nothing(cast: Cast, events: Events) -> None:
    for actor in administrators(cast):
        tokens.issue(actor=actor, environment=cast.production, role="viewer", name="ci")
        memberships.revoke_membership(
            actor=actor, membership=grant_by(actor, cast.production, cast.charlie, "viewer")
        )
    assert not events(Action.BREAK_GLASS)


def test_who_manages_the_environment_breaks_nothing(cast: Cast, events: Events) -> None:
    Membership.objects.create(environment=cast.production, user=cast.root, role=Role.MANAGER)
    for actor in (cast.principal(cast.root), cast.principal(cast.alice)):
        tokens.issue(actor=actor, environment=cast.production, role="reader", name="ci")
    grant_by(cast.principal(cast.root), cast.production, cast.charlie, "editor")
    assert not events(Action.BREAK_GLASS)


def test_managing_a_part_is_not_managing(cast: Cast, events: Events) -> None:
    Membership.objects.create(environment=cast.production, user=cast.root, role=Role.MANAGER, prefix="pay")
    grant_by(cast.principal(cast.root), cast.production, cast.charlie, "reader")
    assert events(Action.BREAK_GLASS)


def test_raising_a_role_breaks_it(cast: Cast, events: Events) -> None:
    membership = Membership.objects.create(environment=cast.production, user=cast.charlie, role=Role.VIEWER)
    memberships.change_membership(actor=cast.principal(cast.root), membership=membership, role="reader")
    assert events(Action.BREAK_GLASS)


def test_joining_a_group_that_reads_breaks_it(cast: Cast, events: Events) -> None:
    root = cast.principal(cast.root)
    group = groups.create_group(actor=root, name="Ops")
    groups.add_to_group(actor=root, user=cast.bob, group=group)
    memberships.grant(
        actor=cast.principal(cast.alice), environment=cast.production, group=group, role="viewer"
    )
    groups.add_to_group(actor=root, user=cast.charlie, group=group)
    assert not events(Action.BREAK_GLASS)
    memberships.grant(
        actor=cast.principal(cast.alice), environment=cast.production, group=group, role="reader", prefix="a"
    )
    groups.add_to_group(actor=root, user=cast.vera, group=group)
    assert len(events(Action.BREAK_GLASS)) == 1


@pytest.mark.parametrize("active", [True, False])
def test_a_password_for_somebody_with_access_breaks_it(cast: Cast, events: Events, *, active: bool) -> None:
    root = cast.principal(cast.root)
    if not active:
        accounts.disable_user(actor=root, user=cast.alice)
    accounts.set_password(actor=root, user=cast.alice, password=NEW)
    (alert,) = events(Action.BREAK_GLASS)
    assert (alert.actor_name, alert.object_name) == ("root", "alice")
    assert NEW not in alert.details


def test_a_password_for_a_member_of_a_group_with_access_breaks_it(cast: Cast, events: Events) -> None:
    root = cast.principal(cast.root)
    group = groups.create_group(actor=root, name="Ops")
    groups.add_to_group(actor=root, user=cast.charlie, group=group)
    memberships.grant(
        actor=cast.principal(cast.alice), environment=cast.production, group=group, role="reader"
    )
    accounts.set_password(actor=root, user=cast.charlie, password=NEW)
    assert events(Action.BREAK_GLASS)


def test_a_restored_account_breaks_it(cast: Cast, events: Events, sql: Callable[..., None]) -> None:
    sql("UPDATE environments_app_user SET role = 'admin' WHERE id = %s", cast.bob.pk)
    accounts.restore_account(
        actor=cast.principal(cast.root), user=User.objects.get(pk=cast.bob.pk), role="user", password=NEW
    )
    assert events(Action.BREAK_GLASS)


def test_ones_own_password_and_that_of_an_outsider_break_nothing(cast: Cast, events: Events) -> None:
    for name, whose in (("alice", cast.alice), ("root", cast.root), ("root", cast.charlie)):
        actor = cast.principal(getattr(cast, name))
        accounts.set_password(actor=actor, user=whose, password=f"{NEW}-{PASSWORD}")
    assert not events(Action.BREAK_GLASS)


def test_the_commands_of_the_host_break_nothing(cast: Cast, events: Events) -> None:
    keeper = system_principal(is_admin=True)
    tokens.issue(actor=keeper, environment=cast.production, role="reader", name="ci")
    assert not events(Action.BREAK_GLASS)


def grant_by(actor: Principal, environment: Environment, user: User, role: str) -> Membership:
    return memberships.grant(actor=actor, environment=environment, user=user, role=role)
