"""Device sign-in: a client gets a personal token of the person who typed its code, and of no other."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.errors import TooManyRefusals
from audit_app.events.actions import Action
from audit_app.models import AuditEvent, RefusalCount
from environments_app.errors import ConfirmationNeeded, Forbidden, InvalidField, Invisible
from environments_app.models import DeviceSignIn, PersonalToken
from environments_app.sessions.store import CONFIRMED, SIGNED_IN
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens import device, loopback
from environments_app.tokens.personal import authenticate_personal, new_token

HERE = "192.0.2.7"


def begin() -> device.Started:
    return device.start(name="alice@laptop", address=HERE)


def redeem(started: device.Started) -> Any:
    DeviceSignIn.objects.update(polled_at=None)
    return device.redeem(device_code=started.device_code, address=HERE)


def test_the_client_gets_the_token_of_who_approved(cast: Cast) -> None:
    started = begin()
    assert redeem(started) is None
    token = device.approve(actor=cast.principal(cast.bob), code=started.row.shown_code.lower())
    text, row = redeem(started)
    assert (row, row.user) == (token, cast.bob)
    # An answer that was lost on its way is given again.
    assert redeem(started)[0] == text
    assert authenticate_personal(text, address=HERE).name == "bob"
    event = AuditEvent.objects.get(action=Action.TOKEN_ISSUE)
    assert (event.actor_name, event.object_name) == ("bob", "alice@laptop")
    stored = str([*DeviceSignIn.objects.values(), *PersonalToken.objects.values()])
    assert started.device_code.partition("_")[2] not in stored
    assert text not in stored


@pytest.mark.parametrize("act", [device.approve, device.deny])
@pytest.mark.parametrize("meanwhile", [device.approve, device.deny])
def test_no_answer_replaces_one_that_was_given_meanwhile(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[..., object], act: Callable[..., object]
) -> None:
    """A denial that came too late says so: the client has a token by then."""
    started = begin()
    find = device.find_waiting

    def slowly(**given: Any) -> DeviceSignIn:
        row = find(**given)
        monkeypatch.undo()
        meanwhile(actor=cast.principal(cast.bob), code=started.row.user_code)
        return row

    monkeypatch.setattr(device, "find_waiting", slowly)
    with pytest.raises(Invisible):
        act(actor=cast.principal(cast.alice), code=started.row.user_code)
    stored = DeviceSignIn.objects.get()
    assert (stored.denied_at is None) == (stored.token is not None) == (meanwhile is device.approve)


def test_a_denied_sign_in_gets_nothing(cast: Cast) -> None:
    started = begin()
    device.deny(actor=cast.principal(cast.bob), code=started.row.user_code)
    with pytest.raises(Forbidden):
        redeem(started)
    with pytest.raises(Invisible):
        device.approve(actor=cast.principal(cast.bob), code=started.row.user_code)
    assert not PersonalToken.objects.exists()


def test_a_sign_in_is_answered_once(cast: Cast) -> None:
    started = begin()
    device.approve(actor=cast.principal(cast.bob), code=started.row.user_code)
    with pytest.raises(Invisible):
        device.approve(actor=cast.principal(cast.erin), code=started.row.user_code)
    assert PersonalToken.objects.get().user == cast.bob


@pytest.mark.parametrize("answer", [device.deny, device.approve])
def test_what_was_answered_meanwhile_is_not_approved(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Any]
) -> None:
    """Another person answers after the sign-in was found waiting, before the token is stored."""
    started = begin()

    def meanwhile(**given: Any) -> PersonalToken:
        monkeypatch.undo()
        answer(actor=cast.principal(cast.erin), code=started.row.user_code)
        return new_token(**given)

    monkeypatch.setattr("environments_app.tokens.device.new_token", meanwhile)
    with pytest.raises(Invisible):
        device.approve(actor=cast.principal(cast.bob), code=started.row.user_code)
    assert not PersonalToken.objects.filter(user=cast.bob).exists()


@pytest.mark.parametrize(
    "change",
    [
        {"expires_at": timezone.now() - timedelta(seconds=1)},
        {"secret_hash": "0" * 64},
        {"name": "another"},
        {"public_id": "A" * 22},
    ],
    ids=["ended", "secret edited", "name edited", "id edited"],
)
def test_what_ended_or_was_edited_is_not_approved(cast: Cast, change: dict[str, Any]) -> None:
    started = begin()
    DeviceSignIn.objects.update(**change)
    with pytest.raises(Invisible):
        device.approve(actor=cast.principal(cast.bob), code=started.row.user_code)
    with pytest.raises(Invisible):
        redeem(started)


def test_an_approval_takes_a_fresh_session(cast: Cast) -> None:
    started = begin()
    with pytest.raises(ConfirmationNeeded):
        device.approve(actor=replace(cast.principal(cast.bob), confirmed=False), code=started.row.user_code)
    assert redeem(started) is None


def test_guessing_codes_is_limited(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 2
    for _ in range(2):
        with pytest.raises(Invisible):
            device.find_waiting(actor=cast.principal(cast.bob), code="BBBBBBBB")
    with pytest.raises(TooManyRefusals):
        device.find_waiting(actor=cast.principal(cast.bob), code=begin().row.user_code)


def test_waiting_sign_ins_are_bounded_and_leave(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_MAX_PER_ADDRESS", 2)
    begin(), begin()
    with pytest.raises(TooManyRefusals):
        begin()
    device.start(name="elsewhere", address="192.0.2.8")
    monkeypatch.setattr(device, "_MAX_WAITING", 3)
    with pytest.raises(TooManyRefusals):
        device.start(name="third", address="192.0.2.9")
    DeviceSignIn.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    begin()
    assert DeviceSignIn.objects.count() == 1


def test_a_client_that_asks_too_often_is_slowed(cast: Cast) -> None:
    started = begin()
    assert device.redeem(device_code=started.device_code, address=HERE) is None
    with pytest.raises(TooManyRefusals):
        device.redeem(device_code=started.device_code, address=HERE)


# --- By HTTP --------------------------------------------------------------------------------------


def post(client: Client, path: str, body: Any) -> Any:
    return client.post(path, body, content_type="application/json")


def test_the_flow_by_http(cast: Cast) -> None:
    terminal, browser = Client(), Client()
    browser.force_login(cast.bob, backend="environments_app.users.password_backend.LocalBackend")
    codes = post(terminal, "/api/device/authorization", {"client_name": "bob@laptop"}).json()
    assert codes["verification_uri"].endswith("/device")
    waits = {"device_code": codes["device_code"]}
    assert post(terminal, "/api/device/token", waits).status_code == 202
    linked = browser.get("/device", {"code": codes["user_code"]}).content.decode()
    # A link fills nothing in, and offers nothing to approve.
    assert f'value="{codes["user_code"]}"' not in linked
    assert "bob@laptop" not in linked
    page = browser.post("/device", {"code": codes["user_code"]}).content.decode()
    assert "bob@laptop" in page
    assert not PersonalToken.objects.exists()
    answer = browser.post(
        "/device/approve", {"code": codes["user_code"], "environment": "development", "hours": "1"}
    )
    assert answer.status_code == 302
    DeviceSignIn.objects.update(polled_at=None)
    token = post(terminal, "/api/device/token", waits).json()
    assert token["token_type"] == "Bearer"
    assert 3500 < token["expires_in"] <= 3600
    who = Client(headers={"authorization": f"Bearer {token['access_token']}"}).get("/api/whoami").json()
    assert [grant["environment"] for grant in who["grants"]] == ["development"]


def test_a_lapsed_proof_is_given_on_the_form_itself(cast: Cast) -> None:
    browser, started = Client(), begin()
    browser.force_login(cast.alice, backend="environments_app.users.password_backend.LocalBackend")
    session = browser.session
    session[CONFIRMED] = session[SIGNED_IN] = int(time.time()) - 3600
    session.save()
    code = started.row.user_code
    assert 'name="proof-password"' in browser.post("/device", {"code": code}).content.decode()
    form = {"code": code, "environment": "development", "hours": "1"}
    wrong = browser.post("/device/approve", form | {"proof-password": "wrong"})
    assert wrong.status_code == 422
    assert "Incorrect password." in wrong.content.decode()
    assert redeem(started) is None
    assert browser.post("/device/approve", form | {"proof-password": PASSWORD}).status_code == 302
    assert PersonalToken.objects.get().environment == cast.development
    assert AuditEvent.objects.filter(action="session.confirm", outcome="allowed").count() == 1
    # The proof is fresh again, for the next form as well.
    assert "proof-password" not in browser.get("/secrets/export").content.decode()


def test_a_refused_form_keeps_the_sign_in_waiting(cast: Cast) -> None:
    browser = Client()
    browser.force_login(cast.bob, backend="environments_app.users.password_backend.LocalBackend")
    started = begin()
    form = {"code": started.row.user_code, "hours": "1000"}
    assert browser.post("/device/approve", form).status_code == 422
    assert browser.post("/device", {"code": "nonsense"}).status_code == 422
    assert browser.post("/device/deny", {"code": started.row.user_code}).status_code == 302
    with pytest.raises(Forbidden):
        redeem(started)


@pytest.mark.parametrize("code", ["", "x", f"{'a' * 22}_{'b' * 43}"])
def test_an_unknown_device_code_is_a_refusal(db: None, code: str) -> None:
    assert post(Client(), "/api/device/token", {"device_code": code}).status_code == 404


def test_a_device_code_is_its_whole_text(cast: Cast, settings: Settings) -> None:
    started = begin()
    device.approve(actor=cast.principal(cast.bob), code=started.row.user_code)
    known, _, secret = started.device_code.partition("_")
    other = ("A" if secret[0] != "A" else "B") + secret[1:]
    for code in (f"{known}_{other}", f"{known}_{secret[:-1]}", f"{known}_", known, f"{'A' * 22}_{secret}"):
        with pytest.raises(Invisible):
            device.redeem(device_code=code, address=HERE)
    assert RefusalCount.objects.get(kind="unknown-device-code").count == 5
    assert device.redeem(device_code=started.device_code, address=HERE)


def test_an_address_that_guesses_is_turned_away_at_each_step(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 2
    started = begin()
    for _ in range(3):
        with contextlib.suppress(TooManyRefusals, Invisible):
            device.redeem(device_code=f"{'A' * 22}_{'B' * 43}", address=HERE)
    here = replace(cast.principal(cast.bob), address=HERE)
    for step in (
        lambda: device.start(name="x", address=HERE),
        lambda: device.redeem(device_code=started.device_code, address=HERE),
        lambda: device.approve(actor=here, code=started.row.user_code),
        lambda: loopback.redeem(code="x", verifier="y", address=HERE),
    ):
        with pytest.raises(TooManyRefusals):
            step()
    assert device.redeem(device_code=started.device_code, address="198.51.100.9") is None


@pytest.mark.parametrize("name", ["system", " laptop", "lap\ntop", "x" * 200])
def test_what_is_no_name_of_a_token_is_refused_by_each_flow(cast: Cast, name: str) -> None:
    with pytest.raises(InvalidField):
        device.start(name=name, address=HERE)
    given = {"port": "50123", "state": "s" * 32, "code_challenge": "c" * 43}
    with pytest.raises(InvalidField):
        loopback.parse_request({"client_name": name, **given})
    with pytest.raises(InvalidField):
        new_token(
            actor=cast.principal(cast.bob), name=name, environment="", prefix="", lifetime=timedelta(hours=1)
        )
    assert not DeviceSignIn.objects.exists()


def test_what_ended_leaves_with_the_next_start(cast: Cast) -> None:
    first = begin()
    DeviceSignIn.objects.filter(pk=first.row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    begin()
    assert not DeviceSignIn.objects.filter(pk=first.row.pk).exists()
