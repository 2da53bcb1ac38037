"""A new installation gets its environments and one administrator, once."""

from unittest.mock import Mock

import pytest
from django.contrib.auth import authenticate
from django.test import RequestFactory
from pytest_django import Settings

from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from audit_app.verification.stream_verifier import verify
from environments_app.errors import InvalidField
from environments_app.models import Environment, Membership, Role, User
from keeper_project.runtime.database_setup import initialise

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


@pytest.fixture(autouse=True)
def _generated(settings: Settings) -> None:
    settings.KEEPER_ADMIN_USERNAME = "admin"
    settings.KEEPER_ADMIN_PASSWORD = ""


def silent(_username: str, _password: str) -> None:
    pass


def test_it_makes_the_environments_in_their_order() -> None:
    assert initialise(announce=silent) is True
    rows = Environment.objects.order_by("position").values_list("name", "display_name")
    assert list(rows) == [
        ("development", "Development"),
        ("staging", "Staging"),
        ("production", "Production"),
    ]
    assert len(set(Environment.objects.values_list("colour", flat=True))) == 3


def test_it_makes_an_administrator_who_manages_them() -> None:
    initialise(announce=silent)
    admin = User.objects.get()
    assert (admin.username, admin.role, admin.is_active) == ("admin", "admin", True)
    assert admin.is_authentic()
    memberships = Membership.objects.filter(user=admin, role=Role.MANAGER)
    assert set(memberships.values_list("environment__name", flat=True)) == {
        "development",
        "staging",
        "production",
    }


def test_it_announces_a_password_that_signs_in() -> None:
    announce = Mock()
    initialise(announce=announce)
    username, password = announce.call_args.args
    assert len(password) >= 20
    request = RequestFactory().post("/sign-in")
    assert authenticate(request, username=username, password=password) == User.objects.get()


def test_it_uses_a_given_password_and_announces_none(settings: Settings) -> None:
    settings.KEEPER_ADMIN_USERNAME, settings.KEEPER_ADMIN_PASSWORD = "Root", "a long enough pass phrase"
    announce = Mock()
    initialise(announce=announce)
    assert User.objects.get(username="root").check_password("a long enough pass phrase")
    announce.assert_not_called()


def test_it_refuses_a_weak_password(settings: Settings) -> None:
    settings.KEEPER_ADMIN_PASSWORD = "password"
    with pytest.raises(InvalidField) as caught:
        initialise(announce=silent)
    assert caught.value.field == "password"
    assert not User.objects.exists()


def test_it_changes_nothing_the_second_time() -> None:
    initialise(announce=silent)
    password = User.objects.get().password
    events = AuditEvent.objects.count()
    announce = Mock()
    assert initialise(announce=announce) is False
    announce.assert_not_called()
    assert User.objects.get().password == password
    assert AuditEvent.objects.count() == events


def test_it_leaves_a_removed_environment_removed() -> None:
    initialise(announce=silent)
    take_away(Membership.objects.filter(environment__name="staging"))
    take_away(Environment.objects.filter(name="staging"))
    initialise(announce=silent)
    assert not Environment.objects.filter(name="staging").exists()


def test_it_goes_on_after_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_event: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("keeper_project.runtime.database_setup.record", interrupted)
        with pytest.raises(KeyboardInterrupt):
            initialise(announce=silent)
    announce = Mock()
    assert initialise(announce=announce) is True
    announce.assert_not_called()
    assert (User.objects.count(), Environment.objects.count()) == (1, 3)


def test_an_interruption_leaves_no_account_that_nobody_can_open(monkeypatch: pytest.MonkeyPatch) -> None:
    announced = []

    def announce(username: str, password: str) -> None:
        announced.append(password)
        assert not User.objects.exists()

    initialise(announce=announce)
    assert User.objects.get().check_password(announced[0])


def test_it_is_recorded_on_a_sound_trail() -> None:
    initialise(announce=silent)
    actions = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"user.create", "environment.create", "deployment.initialise"} <= actions
    assert list(verify()) == []


def test_it_puts_no_password_into_the_trail(settings: Settings) -> None:
    settings.KEEPER_ADMIN_PASSWORD = "a long enough pass phrase"
    initialise(announce=silent)
    assert "pass phrase" not in repr(list(AuditEvent.objects.values_list("details", flat=True)))
