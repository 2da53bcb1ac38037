"""A passkey in place of password and code: at the sign-in, as a fresh proof, and to choose a password."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import webauthn
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent, RefusalCount
from environments_app.authentication import passkeys, pending, second_factor
from environments_app.authorization.principals import system_principal
from environments_app.authorization.rows import access_rows
from environments_app.models import FailedSignIns, Passkey, Session, UsedJwt, User
from environments_app.tests.authentication.test_mfa import enrolled, is_in
from environments_app.tests.authentication.test_passkeys import PARTY, options_in, with_passkey
from environments_app.tests.authenticator import Authenticator
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.users import accounts

Events = Callable[..., list[AuditEvent]]
REFUSED = b"This passkey wasn&#x27;t accepted. Try again, or sign in with your password."
NEW = "a-new-passphrase-of-mine"


@pytest.fixture
def device(cast: Cast) -> Authenticator:
    """Alice's laptop, which checks its person."""
    enrolled(cast, cast.alice)
    return with_passkey(cast, cast.alice)


def challenge_in(page: Any) -> str:
    found = re.search(r'name="challenge" value="([^"]+)"', page.content.decode())
    assert found
    return found[1]


def give(client: Client, device: Authenticator, *, page: Any = None, **fields: str) -> Any:
    """Answer a page of the sign-in, by default one that is opened now."""
    page = page or client.get("/sign-in")
    answer = {"passkey": device.get(options_in(page)), "challenge": challenge_in(page), "next": "/secrets"}
    return client.post("/sign-in/passkey", answer | fields)


@pytest.mark.every_database
def test_a_passkey_signs_in_alone(cast: Cast, device: Authenticator, events: Events) -> None:
    client = Client()
    assert give(client, device)["Location"] == "/secrets"
    assert is_in(client)
    details = json.loads(events(Action.SIGN_IN)[-1].details)
    assert (details["how"], details["second_factor"]) == ("passkey", "passkey")
    # It is a fresh proof, as password and code are.
    assert client.post("/profile/passkeys/start").status_code == 200


def test_the_page_asks_everybody_alike(cast: Cast, device: Authenticator) -> None:
    asked = json.loads(options_in(Client().get("/sign-in")))
    assert (asked["allowCredentials"], asked["userVerification"], asked["rpId"]) == (
        [],
        "required",
        "testserver",
    )


def test_a_visitor_of_the_page_leaves_nothing_behind(cast: Cast) -> None:
    Client().get("/sign-in")
    assert not Session.objects.exists()
    assert not UsedJwt.objects.exists()


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"verified": False}, id="a device that did not check its person"),
        pytest.param({"origin": "http://evil.example"}, id="another origin"),
        pytest.param({"host": "evil.example"}, id="another host"),
        pytest.param({"count": 0}, id="a copied device, whose counter is behind"),
        pytest.param({"user_handle": bytes(16)}, id="the handle of nobody"),
        pytest.param({"user_handle": b""}, id="no handle"),
        pytest.param({"credential_id": b"x" * 32}, id="an unknown passkey"),
    ],
)
def test_what_is_not_proved_lets_nobody_in(cast: Cast, device: Authenticator, broken: dict[str, Any]) -> None:
    Passkey.objects.update(sign_count=5)
    device.count = 10
    for name, value in broken.items():
        setattr(device, name, value)
    client = Client()
    page = give(client, device)
    assert page.status_code == 200
    assert REFUSED in page.content
    assert not is_in(client)


def test_the_handle_of_another_person_lets_nobody_in(cast: Cast, device: Authenticator) -> None:
    enrolled(cast, cast.root)
    other = with_passkey(cast, cast.root)
    other.user_handle, device.user_handle = device.user_handle, other.user_handle
    for each in (other, device):
        client = Client()
        assert REFUSED in give(client, each).content
        assert not is_in(client)


def test_a_signature_over_something_else_lets_nobody_in(cast: Cast, device: Authenticator) -> None:
    client = Client()
    page = client.get("/sign-in")
    answer = device.get(options_in(page), signed=b"something else")
    client.post("/sign-in/passkey", {"passkey": answer, "challenge": challenge_in(page)})
    assert not is_in(client)


def test_a_refusal_is_recorded_and_counts(cast: Cast, device: Authenticator, events: Events) -> None:
    device.verified = False
    give(Client(), device)
    refused = events(Action.SIGN_IN)[-1]
    assert (refused.outcome, refused.object_name) == ("denied", "alice")
    assert json.loads(refused.details) == {"reason": "passkey"}
    assert FailedSignIns.objects.exists()
    device.credential_id = b"x" * 32
    give(Client(), device)
    assert RefusalCount.objects.get().kind == "sign-in"


@pytest.mark.every_database
def test_an_answer_counts_once(cast: Cast, device: Authenticator) -> None:
    client = Client()
    page = client.get("/sign-in")
    kept = client.cookies["keeper_passkey"].value
    answer = {"passkey": device.get(options_in(page)), "challenge": challenge_in(page)}
    # A device that does not count: its counter stops no second use.
    Passkey.objects.update(sign_count=0)
    assert client.post("/sign-in/passkey", answer).status_code == 302
    Passkey.objects.update(sign_count=0)
    again = Client()
    again.cookies["keeper_passkey"] = kept
    assert REFUSED in again.post("/sign-in/passkey", answer).content
    assert not is_in(again)


def test_an_answer_counts_in_its_browser_alone(cast: Cast, device: Authenticator) -> None:
    page, other = Client().get("/sign-in"), Client()
    other.get("/sign-in")
    assert REFUSED in give(other, device, page=page).content
    # Nor with the challenge of that browser, which is not what was signed.
    challenge = challenge_in(other.get("/sign-in"))
    assert REFUSED in give(other, device, page=page, challenge=challenge).content
    assert not is_in(other)


@pytest.mark.parametrize("made_up", ["", "k", f"k{'0' * 32}.1.{'0' * 40}", "\x00", "é" * 200])
def test_a_challenge_that_keeper_did_not_make_is_refused(
    cast: Cast, device: Authenticator, made_up: str
) -> None:
    client = Client()
    client.get("/sign-in")
    answer = device.get(passkeys.ask_anyone(PARTY, made_up))
    client.post("/sign-in/passkey", {"passkey": answer, "challenge": made_up})
    assert not is_in(client)


def test_a_challenge_ends(cast: Cast, device: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    page = client.get("/sign-in")
    monkeypatch.setattr(pending, "LIFETIME_SECONDS", -1)
    assert REFUSED in give(client, device, page=page).content
    assert not is_in(client)


def test_an_answer_to_another_question_is_refused(cast: Cast, device: Authenticator) -> None:
    """The challenge of the second step, and that of a fresh proof, sign nobody in."""
    client = Client()
    page = client.get("/sign-in")
    ceremony = passkeys.begin_sign_in(User.objects.get(username="alice"), PARTY)
    assert ceremony
    answer = {"passkey": device.get(ceremony.options), "challenge": challenge_in(page)}
    client.post("/sign-in/passkey", answer)
    assert not is_in(client)


@pytest.mark.parametrize(
    "made",
    [
        pytest.param({"verified": False}, id="a key that did not check its person when it was added"),
        pytest.param({"offered": False}, id="a passkey that the device does not offer"),
    ],
)
def test_a_passkey_that_replaces_the_code_alone(cast: Cast, made: dict[str, Any]) -> None:
    enrolled(cast, cast.alice)
    device = with_passkey(cast, cast.alice, **made)
    device.verified = True
    client = Client()
    assert REFUSED in give(client, device).content
    assert not is_in(client)
    client.post("/sign-in", {"username": "alice", "password": PASSWORD})
    asked = options_in(client.get("/sign-in/code"))
    assert json.loads(asked)["userVerification"] == "preferred"
    assert client.post("/sign-in/code", {"passkey": device.get(asked), "code": ""}).status_code == 302


def test_a_browser_that_says_nothing_is_believed(cast: Cast) -> None:
    enrolled(cast, cast.alice)
    client = Client()
    assert give(client, with_passkey(cast, cast.alice, offered=None)).status_code == 302


def test_a_row_made_passwordless_by_sql_is_no_passkey(cast: Cast) -> None:
    enrolled(cast, cast.alice)
    device = with_passkey(cast, cast.alice, verified=False)
    Passkey.objects.update(passwordless=True)
    device.verified, client = True, Client()
    assert REFUSED in give(client, device).content
    assert not is_in(client)


def test_a_disabled_account_stays_out(cast: Cast, device: Authenticator, events: Events) -> None:
    accounts.disable_user(actor=cast.principal(cast.root).proven(), user=cast.alice)
    assert REFUSED in give(Client(), device).content
    assert events(Action.SIGN_IN)[-1].outcome == "denied"
    assert not Session.objects.exclude(user=None).exists()


@pytest.mark.parametrize("meanwhile", ["account disabled", "passkey removed", "second factor removed"])
def test_what_ends_while_the_answer_is_judged(
    cast: Cast, device: Authenticator, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    verify, root = webauthn.verify_authentication_response, cast.principal(cast.root).proven()

    def slowly(**given: Any) -> Any:
        proof = verify(**given)
        if meanwhile == "account disabled":
            accounts.disable_user(actor=root, user=cast.alice)
        elif meanwhile == "second factor removed":
            second_factor.remove(actor=root, user=cast.alice)
        else:
            uuid = str(Passkey.objects.get().uuid)
            passkeys.remove_passkey(actor=cast.principal(cast.alice), user=cast.alice, uuid=uuid)
        return proof

    monkeypatch.setattr(webauthn, "verify_authentication_response", slowly)
    client = Client()
    give(client, device)
    assert not is_in(client)


def test_a_suspended_account_sees_names_alone(cast: Cast, device: Authenticator) -> None:
    user = User.objects.get(pk=cast.alice.pk)
    user.suspended_at = timezone.now()
    user.save()
    client = Client()
    assert give(client, device).status_code == 302
    assert {grant["role"] for grant in client.get("/api/whoami").json()["grants"]} == {"viewer"}


@pytest.mark.parametrize("by", ["an administrator", "the host"])
def test_a_password_that_another_person_sets_ends_the_passkeys(
    cast: Cast, device: Authenticator, by: str
) -> None:
    """Whoever used the account before may have added one: it would get in without the new password."""
    actor = cast.principal(cast.root) if by == "an administrator" else system_principal(is_admin=True)
    accounts.set_password(actor=actor, user=cast.alice, password=NEW)
    assert not Passkey.objects.exists()
    client = Client()
    assert REFUSED in give(client, device).content
    assert not is_in(client)
    assert not [*access_rows()]


def test_the_own_password_is_chosen_with_a_passkey(
    cast: Cast, device: Authenticator, signed_in: Callable[[User], Client]
) -> None:
    client = signed_in(cast.alice)
    asked = options_in(client.get("/profile"))
    new = {"current": "", "code": "", "password": NEW, "again": NEW, "passkey": device.get(asked)}
    assert client.post("/profile/password", new)["Location"] == "/profile#password"
    assert User.objects.get(pk=cast.alice.pk).check_password(NEW)
    assert Passkey.objects.exists()


def test_a_fresh_proof_by_the_passkey_alone(
    cast: Cast, device: Authenticator, signed_in: Callable[[User], Client], events: Events
) -> None:
    client = signed_in(cast.alice)
    asked = options_in(client.get("/confirm"))
    assert json.loads(asked)["userVerification"] == "required"
    done = client.post("/confirm", {"password": "", "code": "", "passkey": device.get(asked)})
    assert done.status_code == 302
    assert json.loads(events(Action.SESSION_CONFIRM)[-1].details) == {"how": "passkey"}


@pytest.mark.parametrize(
    ("made", "used"), [({}, {"verified": False}), ({"verified": False}, {"verified": True})]
)
def test_no_fresh_proof_without_a_checked_person(
    cast: Cast,
    signed_in: Callable[[User], Client],
    events: Events,
    made: dict[str, Any],
    used: dict[str, Any],
) -> None:
    enrolled(cast, cast.alice)
    device, client = with_passkey(cast, cast.alice, **made), signed_in(cast.alice)
    for name, value in used.items():
        setattr(device, name, value)
    given = {"password": "", "code": "", "passkey": device.get(options_in(client.get("/confirm")))}
    page = client.post("/confirm", given)
    assert page.status_code == 422
    assert b"accepted without your password. Enter it as well." in page.content
    assert not events(Action.SESSION_CONFIRM)


def test_an_empty_password_without_a_passkey_proves_nothing(
    cast: Cast, device: Authenticator, signed_in: Callable[[User], Client]
) -> None:
    secret_less = {"password": "", "code": "123456", "passkey": ""}
    assert signed_in(cast.alice).post("/confirm", secret_less).status_code == 422
    bob = signed_in(cast.bob)
    assert bob.post("/confirm", {"password": "", "passkey": "{}"}).status_code == 422


def test_an_account_without_a_second_factor_has_none(cast: Cast, device: Authenticator) -> None:
    User.objects.get(username="alice")
    second_factor.remove(actor=cast.principal(cast.root).proven(), user=cast.alice)
    assert REFUSED in give(Client(), device).content


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_ip_address_asks_for_none(cast: Cast, host: str, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["testserver", host]
    page = Client().get("/sign-in", headers={"host": host})
    assert page.status_code == 200
    assert b"data-passkey-get" not in page.content
    assert "keeper_passkey" not in page.cookies


def test_a_form_of_another_site_signs_nobody_in(cast: Cast, device: Authenticator) -> None:
    client = Client(enforce_csrf_checks=True)
    assert give(client, device).status_code == 403
    assert not is_in(client)


def test_an_address_that_fails_too_often_waits(cast: Cast, settings: Settings, one_minute: None) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 3
    device = Authenticator()
    device.user_handle = bytes(16)
    assert [give(Client(), device).status_code for _ in range(4)] == [200, 200, 200, 429]
