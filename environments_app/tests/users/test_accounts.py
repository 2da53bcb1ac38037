import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authorization.principals import system_principal
from environments_app.errors import (
    BadName,
    ConfirmationNeeded,
    Conflict,
    Forbidden,
    InvalidField,
    NameInUse,
    Suspended,
    Tampered,
)
from environments_app.models import Alert, PersonalToken, Session, Source, User, UserRole
from environments_app.tests.cast import PASSWORD, Cast, choose_password
from environments_app.tokens.personal import issue_personal
from environments_app.users import accounts
from environments_app.users.suspensions import KIND

Events = Callable[..., list[AuditEvent]]
NEW = "another-long-passphrase"


def test_an_administrator_creates_an_account(cast: Cast, events: Events) -> None:
    user = accounts.create_user(
        actor=cast.principal(cast.root), username="Dora", email="dora@Example.com", password=NEW
    )
    assert (user.username, user.email, user.role) == ("dora", "dora@example.com", "user")
    assert user.check_password(NEW)
    (event,) = events(Action.USER_CREATE)
    assert event.object_name == "dora"
    assert NEW not in str(vars(event))


def test_without_a_password_nobody_signs_in(cast: Cast) -> None:
    user = accounts.create_user(actor=cast.principal(cast.root), username="dora")
    assert not user.has_usable_password()


def test_only_administrators_create(cast: Cast) -> None:
    with pytest.raises(Forbidden):
        accounts.create_user(actor=cast.principal(cast.alice), username="dora")


@pytest.mark.every_database
@pytest.mark.parametrize("name", ["ALICE", "Ａlice"])
def test_another_spelling_is_the_same_name(cast: Cast, name: str) -> None:
    with pytest.raises(NameInUse):
        accounts.create_user(actor=cast.principal(cast.root), username=name)


def test_it_refuses_homoglyphs_weak_passwords_and_bad_fields(cast: Cast) -> None:
    root = cast.principal(cast.root)
    with pytest.raises(BadName):
        accounts.create_user(actor=root, username="аlice")
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"password": "short"}, "password"),
        ({"email": "nobody"}, "email"),
        ({"role": "king"}, "role"),
    )
    for fields, field in wrong:
        with pytest.raises(InvalidField) as refusal:
            accounts.create_user(actor=root, username="dora", **fields)
        assert refusal.value.field == field
        assert "short" not in str(refusal.value).split()


def test_a_change_is_recorded(cast: Cast, events: Events) -> None:
    accounts.update_user(actor=cast.principal(cast.root), user=cast.bob, role="admin", display_name="Bob")
    assert cast.principal(cast.bob).is_admin
    told = json.loads(events(Action.USER_CHANGE)[0].details)
    assert {name: told[name] for name in told if name != "rows"} == {"display_name": "Bob", "role": "admin"}
    with pytest.raises(InvalidField):
        accounts.update_user(actor=cast.principal(cast.root), user=cast.bob, username="x")


@pytest.mark.parametrize(
    ("change", "asks"),
    [({"email": "b@example.com"}, True), ({"role": "admin"}, True), ({"is_active": False}, True),
     ({"display_name": "Bob"}, False)],
)  # fmt: skip
def test_a_session_whose_proof_has_lapsed_decides_nothing_about_a_sign_in(
    cast: Cast, change: dict[str, Any], asks: bool
) -> None:
    stale = replace(cast.principal(cast.root), confirmed=False)
    with pytest.raises(ConfirmationNeeded) if asks else nullcontext():
        accounts.update_user(actor=stale, user=cast.bob, **change)
    for act in (accounts.set_password, partial(accounts.restore_account, role="user")):
        with pytest.raises(ConfirmationNeeded):
            act(actor=stale, user=cast.bob, password=NEW)


def test_another_address_confirms_nothing_by_the_one_before(cast: Cast) -> None:
    cast.bob.reset_email = cast.bob.email = "bob@example.com"
    cast.bob.save()
    root = cast.principal(cast.root)
    accounts.update_user(actor=root, user=cast.bob, display_name="Bob")
    assert User.objects.get(pk=cast.bob.pk).reset_email == "bob@example.com"
    accounts.update_user(actor=root, user=User.objects.get(pk=cast.bob.pk), email="b@example.com")
    assert User.objects.get(pk=cast.bob.pk).reset_email == ""


def test_a_role_that_a_person_decides_is_no_longer_of_single_sign_on(cast: Cast, events: Events) -> None:
    root = cast.principal(cast.root)
    user = accounts.follow_groups(actor=root, user=cast.bob, role=UserRole.AUDITOR)
    assert (user.role, user.role_source) == (UserRole.AUDITOR, Source.SAML)
    assert json.loads(events(Action.USER_CHANGE)[-1].details)["source"] == "saml"
    user = accounts.update_user(actor=root, user=user, role=UserRole.ADMIN)
    assert user.role_source == ""
    # What groups say later does not take it away.
    assert accounts.follow_groups(actor=root, user=user, role=UserRole.USER).role == UserRole.ADMIN


def test_disabling_takes_everything_at_once(cast: Cast) -> None:
    accounts.disable_user(actor=cast.principal(cast.root), user=cast.alice)
    assert cast.principal(cast.alice).grants == ()


@pytest.mark.parametrize("changes", [{"is_active": False}, {"role": "user"}])
def test_the_last_administrator_stays(
    cast: Cast, sql: Callable[..., None], changes: dict[str, object]
) -> None:
    root = cast.principal(cast.root)
    sql("UPDATE environments_app_user SET role = 'admin' WHERE id = %s", cast.bob.pk)
    with pytest.raises(Conflict):
        accounts.update_user(actor=root, user=cast.root, **changes)
    accounts.create_user(actor=root, username="dora", role="admin")
    accounts.update_user(actor=root, user=cast.root, **changes)


def test_one_sets_ones_own_password_and_nobody_elses(cast: Cast) -> None:
    accounts.set_password(actor=cast.principal(cast.alice), user=cast.alice, password=NEW)
    stored = User.objects.get(pk=cast.alice.pk)
    assert stored.check_password(NEW)
    assert stored.is_authentic()
    with pytest.raises(Forbidden):
        accounts.set_password(actor=cast.principal(cast.bob), user=cast.alice, password=NEW)
    with pytest.raises(InvalidField):
        accounts.set_password(actor=cast.principal(cast.root), user=cast.alice, password="password1234")


def test_a_forged_account_is_not_made_genuine_by_a_change(cast: Cast, sql: Callable[..., None]) -> None:
    root = cast.principal(cast.root)
    sql("UPDATE environments_app_user SET role = 'admin' WHERE id = %s", cast.bob.pk)
    changes: list[Callable[[], User]] = [
        lambda: accounts.update_user(actor=root, user=cast.bob, email="x@example.com"),
        lambda: accounts.disable_user(actor=root, user=cast.bob),
        lambda: accounts.set_password(actor=root, user=cast.bob, password=NEW),
    ]
    for change in changes:
        with pytest.raises(Tampered):
            change()
    assert not User.objects.get(pk=cast.bob.pk).is_authentic()


def test_an_administrator_restores_it_by_stating_what_it_grants(cast: Cast, sql: Callable[..., None]) -> None:
    sql("UPDATE environments_app_user SET role = 'admin' WHERE id = %s", cast.bob.pk)
    forged = User.objects.get(pk=cast.bob.pk)
    with pytest.raises(Forbidden):
        accounts.restore_account(actor=cast.principal(cast.alice), user=forged, role="user", password=NEW)
    accounts.restore_account(actor=system_principal(is_admin=True), user=forged, role="user", password=NEW)
    stored = User.objects.get(pk=cast.bob.pk)
    assert (stored.role, stored.is_authentic(), stored.check_password(PASSWORD)) == ("user", True, False)
    assert cast.principal(cast.bob).grants == ()
    choose_password(stored)
    assert len(cast.principal(cast.bob).grants) == 1


def test_an_account_of_single_sign_on_has_fields_as_any_other(cast: Cast) -> None:
    given = {"username": "nina", "issuer": "https://idp.test", "name_id": "nina"}
    for wrong in ({"email": "nobody"}, {"display_name": "x" * 200}):
        with pytest.raises(InvalidField):
            accounts.create_provider_user(actor=cast.principal(cast.root), **given, **wrong)
    made = accounts.create_provider_user(
        actor=cast.principal(cast.root), **given, email="nina@example.com", display_name="Nina"
    )
    assert (made.email, made.display_name, made.has_usable_password()) == ("nina@example.com", "Nina", False)


def test_an_account_is_restored_with_a_role_that_there_is(cast: Cast) -> None:
    with pytest.raises(InvalidField):
        accounts.restore_account(actor=cast.principal(cast.root), user=cast.bob, role="king", password=NEW)
    with pytest.raises(InvalidField):
        accounts.restore_account(
            actor=cast.principal(cast.root), user=cast.bob, role="user", password="short"
        )
    assert User.objects.get(pk=cast.bob.pk).role == "user"


def test_nothing_of_what_was_found_is_kept_by_a_restored_account(
    cast: Cast, sql: Callable[..., None]
) -> None:
    sql(
        "UPDATE environments_app_user SET saml_issuer = 'https://idp.test', saml_name_id = 'mallory', "
        "reset_email = 'mallory@example.com', is_active = false, second_factor = %s, temporary_since = NULL "
        "WHERE id = %s", "0" * 31 + "1", cast.bob.pk,
    )  # fmt: skip
    forged = User.objects.get(pk=cast.bob.pk)
    accounts.restore_account(actor=cast.principal(cast.root), user=forged, role="user", password=NEW)
    stored = User.objects.get(pk=cast.bob.pk)
    assert (stored.saml_issuer, stored.saml_name_id, stored.second_factor, stored.reset_email) == (
        None, None, None, "",
    )  # fmt: skip
    assert (stored.is_active, stored.temporary_since is not None) == (True, True)
    # Whoever restored it could sign in as bob: managers are told.
    assert Alert.objects.filter(kind=KIND, environment=cast.development, open=True).exists()
    assert stored.check_password(NEW)


def test_restoring_an_account_ends_what_was_opened_with_it(
    cast: Cast, client: Client, sql: Callable[..., None]
) -> None:
    """Whoever edited the account may have signed in with it, and issued tokens."""
    issue_personal(actor=cast.principal(cast.bob), name="laptop")
    client.force_login(cast.bob)
    assert Session.objects.filter(user=cast.bob).exists()
    sql("UPDATE environments_app_user SET role = 'admin' WHERE id = %s", cast.bob.pk)
    forged = User.objects.get(pk=cast.bob.pk)
    accounts.restore_account(actor=cast.principal(cast.root), user=forged, role="user", password=NEW)
    assert not Session.objects.filter(user=cast.bob).exists()
    assert not PersonalToken.objects.filter(user=cast.bob, revoked_at=None).exists()


def test_nobody_is_called_as_keeper_itself(cast: Cast) -> None:
    root = cast.principal(cast.root)
    with pytest.raises(BadName):
        accounts.create_user(actor=root, username="System")
    with pytest.raises(BadName):
        accounts.create_provider_user(
            actor=root, username="keeper", issuer="https://idp.example", name_id="keeper"
        )
    assert User.objects.count() == 6


def test_a_suspended_administrator_takes_roles_and_gives_none(cast: Cast, events: Events) -> None:
    accounts.update_user(actor=cast.principal(cast.root), user=cast.erin, role=UserRole.AUDITOR)
    suspended = replace(cast.principal(cast.root), suspended=True)
    for role in (UserRole.ADMIN, UserRole.AUDITOR):
        with pytest.raises(Suspended):
            accounts.update_user(actor=suspended, user=cast.bob, role=role)
    assert User.objects.get(pk=cast.bob.pk).role == UserRole.USER
    assert events(Action.USER_CHANGE, outcome="denied")
    assert accounts.update_user(actor=suspended, user=cast.erin, role=UserRole.USER).role == UserRole.USER
