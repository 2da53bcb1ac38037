"""Strangers who use up their tries for an account hold up neither its person nor those beside them."""

from datetime import timedelta
from http.cookies import Morsel
from types import SimpleNamespace

import pytest
from django.core import signing
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.models import RefusalCount
from environments_app.authentication.lockout import COOKIE
from environments_app.models import Alert, Delivery
from environments_app.tests.authentication.test_mfa import enrolled
from environments_app.tests.cast import PASSWORD, Cast

pytestmark = pytest.mark.every_database_weekly

HOME, ELSEWHERE = "2001:db8:1:1::5", "203.0.113.77"


@pytest.fixture
def cast(cast: Cast, settings: Settings) -> Cast:
    settings.KEEPER_REFUSALS_PER_MINUTE = 1000
    # Hundreds of passwords are checked here; how dearly is another test's matter.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    for user in (cast.alice, cast.root):
        user.set_password(PASSWORD)
        user.save()
    return cast


def browser(address: str, cookie: str = "") -> Client:
    client = Client(REMOTE_ADDR=address)
    if cookie:
        client.cookies[COOKIE] = cookie
    return client


def sign_in(client: Client, username: str = "alice", password: str = PASSWORD) -> HttpResponse:
    return client.post("/sign-in", {"username": username, "password": password})  # type: ignore[return-value]


def device_of(client: Client) -> "Morsel[str]":
    assert sign_in(client).status_code == 302
    return client.cookies[COOKIE]


def attack(username: str = "alice") -> None:
    """Try wrong passwords from ever other networks until strangers are refused."""
    for number in range(60):
        if sign_in(browser(f"198.51.100.{number}"), username, "wrong").status_code == 429:
            return
    pytest.fail("strangers were never refused")


def test_the_person_signs_in_by_a_browser_that_has_signed_in_before(cast: Cast) -> None:
    cookie = device_of(browser(HOME)).value
    attack()
    # From anywhere, with the same browser; a stranger waits even with the right password.
    assert sign_in(browser(ELSEWHERE)).status_code == 429
    assert sign_in(browser(ELSEWHERE, cookie)).status_code == 302


def test_the_person_signs_in_by_a_network_that_has_signed_in_before(cast: Cast) -> None:
    device_of(browser(HOME))
    attack()
    # Another address of the same /64.
    assert sign_in(browser("2001:db8:1:1:ffff::9")).status_code == 302
    assert sign_in(browser("2001:db8:1:2::5")).status_code == 429


def test_who_is_signed_in_confirms(cast: Cast) -> None:
    alice = browser(HOME)
    device_of(alice)
    attack()
    assert alice.post("/confirm", {"password": PASSWORD}).status_code == 302


def test_an_attacker_behind_the_same_address_holds_up_no_browser(cast: Cast, settings: Settings) -> None:
    alice = browser(HOME)
    cookie = device_of(alice).value
    settings.KEEPER_REFUSALS_PER_MINUTE = 2
    RefusalCount.objects.create(
        minute=timezone.now().replace(second=0, microsecond=0), address="2001:db8:1:1::/64", kind="x", count=9
    )
    RefusalCount.objects.create(
        minute=timezone.now().replace(second=0, microsecond=0) + timedelta(minutes=1),
        address="2001:db8:1:1::/64",
        kind="x",
        count=9,
    )
    assert sign_in(browser(HOME)).status_code == 429
    assert alice.post("/confirm", {"password": PASSWORD}).status_code == 302
    assert sign_in(browser(HOME, cookie)).status_code == 302


def test_a_stolen_session_that_guesses_does_not_hold_up_the_person(cast: Cast) -> None:
    alice, thief = browser(HOME), browser(HOME)
    device_of(alice)
    device_of(thief)
    answers = [thief.post("/confirm", {"password": "wrong"}).status_code for _ in range(4)]
    assert answers == [422, 422, 422, 429]
    assert alice.post("/confirm", {"password": PASSWORD}).status_code == 302


def test_a_stolen_session_gets_no_new_name_by_a_password_of_another_account(cast: Cast) -> None:
    enrolled(cast, cast.root)
    alice, thief = browser(HOME), browser(HOME)
    device_of(alice)
    device_of(thief)
    for _ in range(4):
        for _ in range(3):
            thief.post("/confirm", {"password": "wrong"})
        assert sign_in(thief, "root").headers["Location"].startswith("/sign-in/code")
        assert thief.get("/api/whoami").status_code == 401
    assert alice.post("/confirm", {"password": PASSWORD}).status_code == 302


def test_an_unknown_name_is_refused_after_as_many_tries_in_the_same_words(cast: Cast) -> None:
    attack("alice")
    attack("nobody-of-this-name")
    answers = [sign_in(browser(ELSEWHERE), name) for name in ("alice", "nobody-of-this-name")]
    assert [answer.status_code for answer in answers] == [429, 429]
    assert all("Too many attempts. Try again in 3 minutes." in answer.content.decode() for answer in answers)


def test_the_cookie_says_nothing_of_the_account_and_is_kept_from_scripts(
    cast: Cast, settings: Settings
) -> None:
    settings.SESSION_COOKIE_SECURE = True
    morsel = device_of(browser(HOME))
    assert (morsel["httponly"], morsel["samesite"], morsel["secure"]) == (True, "Lax", True)
    assert "alice" not in str(signing.loads(morsel.value, salt="environments_app.devices"))
    again = device_of(browser(HOME, morsel.value))
    assert again.value != morsel.value


@pytest.mark.parametrize("kind", ["of another", "tampered", "made up", "old", "of a clock ahead"])
def test_no_other_cookie_counts(cast: Cast, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    now = timezone.now()
    days = {"old": -91, "of a clock ahead": 1}.get(kind, 0)
    with monkeypatch.context() as patched:
        written = SimpleNamespace(now=lambda: now + timedelta(days=days))
        patched.setattr("environments_app.authentication.lockout.timezone", written)
        cookie = device_of(browser(HOME)).value
    if kind == "of another":
        other = browser(HOME)
        assert sign_in(other, "root").status_code == 302
        cookie = other.cookies[COOKIE].value
    cookie = {"tampered": f"x{cookie}", "made up": "x"}.get(kind, cookie)
    attack()
    assert sign_in(browser(ELSEWHERE, cookie)).status_code == 429


def test_people_who_share_a_browser_are_known_each(cast: Cast) -> None:
    client = browser(HOME)
    device_of(client)
    client.post("/sign-out")
    assert sign_in(client, "root").status_code == 302
    attack()
    assert sign_in(browser(ELSEWHERE, client.cookies[COOKIE].value)).status_code == 302


def test_the_person_and_the_administrators_are_told(cast: Cast) -> None:
    cast.alice.email = "alice@example.com"
    cast.alice.save()
    attack()
    alert = Alert.objects.get(kind="sign-in-tries", open=True)
    assert alert.subject == "Many failed sign-ins for alice"
    assert cast.alice.uuid in set(Delivery.objects.values_list("addressee", flat=True))


def test_the_next_sign_in_says_how_many_wrong_passwords_there_were(cast: Cast) -> None:
    alice = browser(HOME)
    device_of(alice)
    alice.post("/sign-out")
    attack()
    assert sign_in(alice).status_code == 302
    assert "20 failed sign-ins to your account" in alice.get("/profile").content.decode()
    assert not Alert.objects.filter(kind="sign-in-tries", open=True).exists()
