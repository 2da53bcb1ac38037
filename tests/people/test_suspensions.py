import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from environments_app.authorization.effective_access import explain_access
from environments_app.authorization.policy import require
from environments_app.authorization.principals import system_principal, token_principal
from environments_app.authorization.rows import access_rows
from environments_app.environments import memberships
from environments_app.environments.groups import add_to_group
from environments_app.errors import Conflict, Forbidden, Invisible, Suspended
from environments_app.models import AccessConfirmation, Alert, Membership, SamlGroupMapping, User
from environments_app.single_sign_on import group_mapping
from environments_app.tests.cast import Cast, choose_password
from environments_app.tokens import rotation as tokens_rotation
from environments_app.tokens import service as tokens
from environments_app.users import accounts, suspensions
from secrets_app.services import write
from secrets_app.services.read import reveal, reveal_environment
from secrets_app.services.share import open_share, share_once
from secrets_app.tests.kept import VALUE, keep
from secrets_app.types.registry import SecretType

Events = Callable[..., list[AuditEvent]]
NEW = "another-long-passphrase"


def reset(cast: Cast, user: User) -> datetime:
    """Let an administrator replace a password, and its person the temporary one; return the suspension."""
    accounts.set_password(actor=cast.principal(cast.root), user=user, password=NEW)
    choose_password(user)
    since = User.objects.get(pk=user.pk).suspended_at
    assert since is not None
    return since


def confirm(cast: Cast, user: User, since: datetime, *, by: User | None = None) -> None:
    suspensions.confirm_account(
        actor=cast.principal(by or cast.alice), environment=cast.development, user=user, since=since
    )


@pytest.mark.every_database
def test_who_resets_a_password_reaches_no_value_by_it(cast: Cast, events: Events) -> None:
    secret = keep(cast, "part/key", environment=cast.development)
    reset(cast, cast.erin)
    erin = cast.principal(cast.erin)
    for attempt in (
        lambda: reveal(actor=erin, secret=secret),
        lambda: reveal_environment(actor=erin, environment=cast.development),
        lambda: write.put(
            actor=erin, environment=cast.development, name="part/new", secret_type=SecretType.TEXT, value="v"
        ),
    ):
        with pytest.raises(Suspended, match="suspended"):
            attempt()
    require(actor=erin, action=Action.SECRET_VIEW, environment=cast.development, name="part/key")
    assert '"reason":"suspended"' in events(Action.SECRET_REVEAL, outcome="denied")[-1].details
    (told,) = events(Action.ACCESS_SUSPEND)
    assert (told.actor_name, told.object_name) == ("root", "erin")
    assert Alert.objects.get(kind=suspensions.KIND).environment == cast.development


def test_who_was_confirmed_once_and_suspended_anew_is_shown_as_not_reading(cast: Cast) -> None:
    def reads() -> set[bool]:
        alice = cast.principal(cast.alice)
        ways = explain_access(actor=alice, environment=cast.development, person="erin")
        return {way.reads for way in ways}

    confirm(cast, cast.erin, reset(cast, cast.erin))
    assert reads() == {True}
    reset(cast, cast.erin)
    assert reads() == {False}


@pytest.mark.every_database
def test_a_link_shows_a_suspended_account_nothing(cast: Cast, events: Events) -> None:
    secret = keep(cast, "part/key", environment=cast.development)
    _, link = share_once(actor=cast.principal(cast.alice), secret=secret, recipient=cast.charlie)
    since = reset(cast, cast.charlie)
    with pytest.raises(Invisible):
        open_share(actor=cast.principal(cast.charlie), link=link)
    (denied,) = events(Action.SECRET_SHARE_OPEN, outcome="denied")
    assert denied.actor_name == "charlie"
    alice = cast.principal(cast.alice)
    suspensions.confirm_account(actor=alice, environment=cast.production, user=cast.charlie, since=since)
    with pytest.raises(Invisible):
        open_share(actor=cast.principal(cast.charlie), link=link)
    confirm(cast, cast.charlie, since)
    assert open_share(actor=cast.principal(cast.charlie), link=link).value == VALUE


def test_a_suspended_manager_lets_nobody_else_in(cast: Cast) -> None:
    reset(cast, cast.alice)
    alice = cast.principal(cast.alice)
    with pytest.raises(Suspended):
        memberships.grant(actor=alice, environment=cast.production, user=cast.charlie, role="reader")
    with pytest.raises(Suspended):
        tokens.issue(actor=alice, environment=cast.production, role="reader", name="mine")


def test_a_suspended_administrator_does_not_break_the_glass(cast: Cast, events: Events) -> None:
    other = accounts.create_user(actor=cast.principal(cast.root), username="dora", role="admin")
    reset(cast, other)
    dora, group = cast.principal(other), Group.objects.create(name="ops")
    Membership.objects.create(environment=cast.development, group=group, role="reader")
    for attempt in (
        lambda: memberships.grant(actor=dora, environment=cast.development, user=cast.charlie, role="reader"),
        lambda: tokens.issue(actor=dora, environment=cast.development, role="reader", name="mine"),
        lambda: add_to_group(actor=dora, user=cast.charlie, group=group),
        lambda: group_mapping.map_group(actor=dora, group="eng", environment=cast.development, role="reader"),
    ):
        with pytest.raises(Suspended):
            attempt()
    assert not events(Action.BREAK_GLASS)
    # Its manager knows the person; what administration is otherwise goes on.
    confirm(cast, other, User.objects.get(pk=other.pk).suspended_at or timezone.now())
    memberships.grant(
        actor=cast.principal(other), environment=cast.development, user=cast.charlie, role="reader"
    )


def test_a_suspended_administrator_breaks_the_glass_only_where_a_manager_confirmed(
    cast: Cast, events: Events
) -> None:
    other = accounts.create_user(actor=cast.principal(cast.root), username="dora", role="admin")
    confirm(cast, other, reset(cast, other))
    dora = cast.principal(other)
    assert dora.trusted_in == {cast.development.pk}
    for attempt in (
        lambda: memberships.grant(actor=dora, environment=cast.production, user=cast.charlie, role="reader"),
        lambda: tokens.issue(actor=dora, environment=cast.production, role="reader", name="mine"),
    ):
        with pytest.raises(Suspended):
            attempt()
    assert not events(Action.BREAK_GLASS)


def test_a_suspended_administrator_makes_nobody_who_breaks_it(cast: Cast, events: Events) -> None:
    standing, _ = tokens.issue(
        actor=system_principal(is_admin=True), environment=None, role="admin", name="standing"
    )
    other = accounts.create_user(actor=cast.principal(cast.root), username="dora", role="admin")
    reset(cast, other)
    dora = cast.principal(other)
    with pytest.raises(Suspended):
        tokens.issue(actor=dora, environment=None, role="admin", name="mine")
    with pytest.raises(Suspended):
        tokens_rotation.rotate(actor=dora, token=standing)
    made = accounts.create_user(actor=dora, username="second", role="admin", password=NEW)
    choose_password(made)
    second = cast.principal(made)
    with pytest.raises(Suspended):
        memberships.grant(actor=second, environment=cast.development, user=cast.charlie, role="reader")
    assert not events(Action.BREAK_GLASS)


@pytest.mark.every_database
def test_a_manager_confirms_for_one_environment(cast: Cast, events: Events) -> None:
    secret = keep(cast, "part/key", environment=cast.development)
    other = keep(cast, "part/key", environment=cast.production)
    memberships.grant(
        actor=cast.principal(cast.alice), environment=cast.production, user=cast.bob, role="reader"
    )
    since = reset(cast, cast.bob)
    assert [user.username for user in suspensions.suspended_accounts(cast.development)] == ["bob"]
    confirm(cast, cast.bob, since)
    assert reveal(actor=cast.principal(cast.bob), secret=secret).value == VALUE
    with pytest.raises(Suspended):
        reveal(actor=cast.principal(cast.bob), secret=other)
    assert not suspensions.suspended_accounts(cast.development)
    (event,) = events(Action.ACCESS_CONFIRM)
    assert (event.actor_name, event.object_name) == ("alice", "bob")
    assert not Alert.objects.filter(kind=suspensions.KIND, environment=cast.development, open=True)
    assert not list(access_rows())


def test_each_account_awaits_a_confirmation_of_its_own(cast: Cast) -> None:
    now = timezone.now()
    for user in (cast.bob, cast.vera):
        user.suspended_at = now
        user.save()
    waiting = suspensions.awaiting_confirmation(User.objects.order_by("username"))
    assert [user.username for user in waiting] == ["bob", "vera"]
    confirm(cast, cast.bob, now)
    assert [user.username for user in waiting.all()] == ["vera"]


def test_who_may_not_confirm_is_on_record(cast: Cast, events: Events) -> None:
    """Oneself, and a program that a manager made."""
    since = timezone.now()
    with pytest.raises(Conflict):
        confirm(cast, cast.alice, since)
    token, _ = tokens.issue(
        actor=system_principal(is_admin=True), environment=cast.development, role="manager", name="ci"
    )
    with pytest.raises(Conflict):
        suspensions.confirm_account(
            actor=token_principal(token), environment=cast.development, user=cast.alice, since=since
        )
    denied = [json.loads(event.details)["reason"] for event in events(Action.ACCESS_CONFIRM)]
    assert denied == ["oneself", "program"]
    assert {event.outcome for event in events(Action.ACCESS_CONFIRM)} == {"denied"}


def test_a_confirmation_that_somebody_takes_away_is_missed(cast: Cast, sql: Callable[..., None]) -> None:
    confirm(cast, cast.bob, reset(cast, cast.bob))
    assert list(run_checks()) == []
    sql("DELETE FROM environments_app_accessconfirmation")
    assert len(list(run_checks())) == 1


def test_a_second_reset_needs_a_second_word(cast: Cast) -> None:
    first = reset(cast, cast.bob)
    confirm(cast, cast.bob, first)
    second = reset(cast, cast.bob)
    assert cast.principal(cast.bob).grants[0].role == "viewer"
    with pytest.raises(Conflict):
        confirm(cast, cast.bob, first)
    confirm(cast, cast.bob, second)
    assert cast.principal(cast.bob).grants[0].role == "reader"


def test_nobody_but_another_manager_confirms(cast: Cast) -> None:
    since = reset(cast, cast.bob)
    with pytest.raises(Forbidden):
        confirm(cast, cast.bob, since, by=cast.root)
    with pytest.raises(Forbidden):
        confirm(cast, cast.bob, since, by=cast.erin)
    own = reset(cast, cast.alice)
    with pytest.raises(Suspended):
        confirm(cast, cast.alice, own)
    accounts.set_password(actor=cast.principal(cast.alice), user=cast.alice, password=NEW + "-again")
    assert cast.principal(cast.alice).suspended
    token, _ = tokens.issue(
        actor=system_principal(is_admin=True), environment=cast.development, role="manager", name="ci"
    )
    with pytest.raises(Conflict, match="person"):
        suspensions.confirm_account(
            actor=token_principal(token), environment=cast.development, user=cast.bob, since=since
        )


def test_one_does_not_suspend_oneself_and_a_command_suspends_nobody(cast: Cast) -> None:
    accounts.set_password(actor=cast.principal(cast.root), user=cast.root, password=NEW)
    accounts.set_password(actor=system_principal(is_admin=True), user=cast.bob, password=NEW)
    assert not User.objects.filter(suspended_at__isnull=False).exists()


@pytest.mark.every_database
def test_sql_lifts_no_suspension(cast: Cast, sql: Callable[..., None]) -> None:
    since = reset(cast, cast.bob)
    sql("UPDATE environments_app_user SET suspended_at = NULL WHERE id = %s", cast.bob.pk)
    assert cast.principal(cast.bob).grants == ()
    User.objects.filter(pk=cast.bob.pk).update(suspended_at=since)
    confirm(cast, cast.bob, since)
    later = reset(cast, cast.bob)
    AccessConfirmation.objects.update(suspended_at=later)
    assert cast.principal(cast.bob).grants[0].role == "viewer"


def test_who_maps_a_group_reaches_no_value_by_it(cast: Cast, events: Events) -> None:
    secret = keep(cast, "part/key", environment=cast.development)
    mapping = group_mapping.map_group(
        actor=cast.principal(cast.root), group="eng", environment=cast.development, role="reader"
    )
    saml = system_principal(is_admin=True)
    group_mapping.apply_groups(actor=saml, user=cast.charlie, groups=["eng"])
    with pytest.raises(Suspended):
        reveal(actor=cast.principal(cast.charlie), secret=secret)
    with pytest.raises(Forbidden):
        suspensions.confirm_mapping(actor=cast.principal(cast.root), mapping=mapping)
    suspensions.confirm_mapping(actor=cast.principal(cast.alice), mapping=mapping)
    group_mapping.apply_groups(actor=saml, user=cast.charlie, groups=["eng"])
    assert reveal(actor=cast.principal(cast.charlie), secret=secret).value == VALUE
    assert [event.object_name for event in events(Action.ACCESS_CONFIRM, outcome="allowed")] == ["eng"]
    assert not list(access_rows())


def test_what_a_manager_confirmed_goes_before_what_waits(cast: Cast) -> None:
    for group, role, suspended in (("a", "reader", None), ("b", "editor", timezone.now())):
        SamlGroupMapping.objects.create(
            group=group, environment=cast.development, role=role, suspended_at=suspended
        )
    group_mapping.apply_groups(actor=system_principal(is_admin=True), user=cast.charlie, groups=["a", "b"])
    (grant,) = cast.principal(cast.charlie).grants
    assert (grant.role, grant.held) == ("reader", None)


def test_the_page_shows_and_confirms(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    since = reset(cast, cast.bob)
    browser = signed_in(cast.alice)
    page = browser.get("/environments/development/access").content.decode()
    assert f'value="{since.isoformat()}"' in page
    stale = (since - timedelta(seconds=1)).isoformat()
    for given in (stale, "", "yesterday"):
        browser.post("/environments/development/access/confirm", {"user": "bob", "since": given})
        assert cast.principal(cast.bob).grants[0].held
    browser.post("/environments/development/access/confirm", {"user": "bob", "since": since.isoformat()})
    assert not cast.principal(cast.bob).grants[0].held
    assert "Suspended" not in browser.get("/environments/development/access").content.decode()


def test_the_api_lists_and_confirms(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    reset(cast, cast.bob)
    browser = signed_in(cast.alice)
    (row,) = browser.get("/api/environments/development/suspensions").json()["accounts"]
    answer = browser.post(
        f"/api/environments/development/suspensions/accounts/{row['user']}",
        {"suspended_at": row["suspended_at"]},
        content_type="application/json",
    )
    assert answer.status_code == 204
    assert cast.principal(cast.bob).grants[0].role == "reader"


def test_the_reason_is_told_on_the_page_and_by_the_api(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    secret = keep(cast, "part/key", environment=cast.development)
    reset(cast, cast.bob)
    browser = signed_in(User.objects.get(pk=cast.bob.pk))
    page = browser.post(f"/secrets/{secret.pk}/reveal")
    assert (page.status_code, "suspended" in page.content.decode()) == (403, True)
    problem = browser.get(f"/api/secrets/{secret.pk}/versions/1")
    assert (problem.status_code, problem.json()["title"]) == (403, "Access is suspended")


def test_the_pages_say_that_access_is_suspended_and_not_that_the_role_is_too_low(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    secret = keep(cast, "part/key", environment=cast.development)
    reset(cast, cast.bob)
    bob, vera = signed_in(User.objects.get(pk=cast.bob.pk)), signed_in(cast.vera)
    for path in (f"/secrets/{secret.pk}", "/environments/development", "/"):
        assert "This access is suspended" in bob.get(path).content.decode(), path
        assert "is suspended" not in vera.get(path).content.decode(), path
    assert "permission to view" not in bob.get(f"/secrets/{secret.pk}").content.decode()
    assert "permission to view" in vera.get(f"/secrets/{secret.pk}").content.decode()


def test_the_administrator_is_told_which_environments_wait(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    form = {"email": "", "display_name": "", "role": "user", "is_active": "on"}
    address, root = f"/admin/environments_app/user/{cast.erin.pk}/change/", signed_in(cast.root)
    told = "The access of erin is suspended: it waits for a manager of development."
    assert told not in root.post(address, form, follow=True).content.decode()
    assert told in root.post(address, form | {"new_password": NEW}, follow=True).content.decode()
