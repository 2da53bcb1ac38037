"""`keeper init-db` initialises, prints a generated password once, and can be run again."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

from environments_app.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


def init_db() -> str:
    out = StringIO()
    call_command("init_db", stdout=out)
    return out.getvalue()


def test_it_prints_the_generated_password_once(settings: Settings) -> None:
    settings.KEEPER_ADMIN_PASSWORD = ""
    first = init_db()
    assert "First administrator: admin" in first
    password = first.split("shown once: ")[1].splitlines()[0]
    assert User.objects.get().check_password(password)
    again = init_db()
    assert "shown once" not in again
    assert "nothing changed" in again


def test_it_makes_default_targets_once_and_starts_without_their_system(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.VAULT_URL, settings.VAULT_TOKEN = "https://127.0.0.1:1", "token"
    assert "Keeper is initialised." in init_db()
    assert "default target vault of development was not made" in caplog.text
    caplog.clear()
    init_db()
    assert "default target" not in caplog.text


def test_it_does_not_print_a_given_password(settings: Settings) -> None:
    settings.KEEPER_ADMIN_PASSWORD = "a long enough pass phrase"
    assert "pass phrase" not in init_db()


def test_it_names_the_variable_that_is_wrong(settings: Settings) -> None:
    settings.KEEPER_ADMIN_PASSWORD = "password"
    with pytest.raises(CommandError, match=r"^KEEPER_ADMIN_PASSWORD: ") as caught:
        init_db()
    assert "too short" in str(caught.value)


def test_it_refuses_a_bad_name(settings: Settings) -> None:
    settings.KEEPER_ADMIN_USERNAME = "\N{CYRILLIC SMALL LETTER A}dmin"
    settings.KEEPER_ADMIN_PASSWORD = "a long enough pass phrase"
    with pytest.raises(CommandError, match=r"^KEEPER_ADMIN_USERNAME: "):
        init_db()
