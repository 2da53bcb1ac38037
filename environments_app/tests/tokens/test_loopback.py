"""Sign-in by a redirect to 127.0.0.1: confirmed by a person, once, within a minute, for the program that asked."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.errors import TooManyRefusals
from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from environments_app.errors import ConfirmationNeeded, Forbidden, InvalidField, Invisible
from environments_app.models import DeviceSignIn, PersonalToken, User
from environments_app.sessions.service import end_other_sessions
from environments_app.tests.cast import Cast
from environments_app.tokens import device, loopback
from environments_app.tokens.personal import authenticate_personal, issue_personal

HERE = "192.0.2.7"
VERIFIER = "v" * 43
GIVEN = {
    "client_name": "bob@laptop",
    "port": "50123",
    "state": "s" * 32,
    "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest())
    .decode()
    .rstrip("="),
}


def approved(cast: Cast, **narrowed: Any) -> dict[str, str]:
    address = loopback.approve(
        actor=cast.principal(cast.bob),
        asked=loopback.parse_request(GIVEN),
        **{"environment": "", "prefix": "", "lifetime": timedelta(hours=2), **narrowed},
    )
    parts = urlsplit(address)
    assert (parts.scheme, parts.netloc, parts.path) == ("http", "127.0.0.1:50123", "/")
    return dict(parse_qsl(parts.query))


def redeem(code: str, verifier: str = VERIFIER) -> tuple[str, PersonalToken]:
    return loopback.redeem(code=code, verifier=verifier, address=HERE)


def test_the_program_gets_the_token_of_who_approved(cast: Cast) -> None:
    answer = approved(cast, environment=cast.development.name, prefix="payments")
    assert answer["state"] == GIVEN["state"]
    text, token = redeem(answer["code"])
    assert authenticate_personal(text, address=HERE).name == "bob"
    assert (token.user, token.environment, token.prefix) == (cast.bob, cast.development, "payments")
    for action in (Action.TOKEN_ISSUE, Action.TOKEN_CHANGE):
        event = AuditEvent.objects.get(action=action)
        assert (event.actor_name, event.object_name) == ("bob", "bob@laptop")
    secret = text[-43:]
    assert secret not in answer["code"]
    assert secret not in str([*PersonalToken.objects.values(), *DeviceSignIn.objects.values()])


def test_a_code_works_once(cast: Cast) -> None:
    code = approved(cast)["code"]
    redeem(code)
    with pytest.raises(Invisible):
        redeem(code)
    assert not DeviceSignIn.objects.exists()


def test_an_address_that_tried_too_many_codes_is_turned_away_with_the_right_one(
    cast: Cast, settings: Settings, one_minute: None
) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 2
    code = approved(cast)["code"]
    for _ in range(2):
        with pytest.raises(Invisible):
            redeem("x" * 40)
    with pytest.raises(TooManyRefusals):
        redeem(code)
    assert loopback.redeem(code=code, verifier=VERIFIER, address="203.0.113.9")[0]


def test_of_two_programs_that_redeem_a_code_at_once_one_gets_the_token(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have found the row: the other one deletes it first."""
    code = approved(cast)["code"]
    delete = QuerySet.delete
    got: list[tuple[str, PersonalToken]] = []

    def meanwhile(rows: QuerySet[Any]) -> tuple[int, dict[str, int]]:
        if not got:
            monkeypatch.undo()
            got.append(redeem(code))
        return delete(rows)

    monkeypatch.setattr(QuerySet, "delete", meanwhile)
    with pytest.raises(Invisible):
        redeem(code)
    assert authenticate_personal(got[0][0], address=HERE).name == "bob"


def test_a_code_ends_after_a_minute(cast: Cast) -> None:
    code = approved(cast)["code"]
    (row,) = DeviceSignIn.objects.all()
    assert timedelta(seconds=50) < row.expires_at - timezone.now() <= timedelta(seconds=60)
    DeviceSignIn.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Invisible):
        redeem(code)


def test_a_token_that_no_program_fetched_ends_with_its_code(cast: Cast) -> None:
    fetched, _ = approved(cast), approved(cast)
    first, second = PersonalToken.objects.order_by("pk")
    assert timedelta(seconds=50) < second.expires_at - timezone.now() <= timedelta(seconds=60)
    text, token = redeem(fetched["code"])
    first.refresh_from_db()
    assert token.expires_at == first.expires_at
    assert timedelta(minutes=119) < first.expires_at - timezone.now() <= timedelta(hours=2)
    assert authenticate_personal(text, address=HERE).name == "bob"
    assert list(run_checks()) == []


@pytest.mark.parametrize("verifier", ["w" * 43, "short", ""])
def test_another_program_gets_nothing_and_the_token_ends(cast: Cast, verifier: str) -> None:
    code = approved(cast)["code"]
    with pytest.raises(Invisible):
        redeem(code, verifier)
    assert PersonalToken.objects.get().revoked_at is not None
    with pytest.raises(Invisible):
        redeem(code)


def test_what_keeper_did_not_seal_gives_nothing(cast: Cast) -> None:
    first, second = approved(cast)["code"], approved(cast)["code"]
    mixed = base64.urlsafe_b64encode(
        base64.urlsafe_b64decode(first)[:16] + base64.urlsafe_b64decode(second)[16:]
    ).decode()
    for code in ("", "x", "A" * 64, "ä", mixed):
        with pytest.raises(Invisible):
            redeem(code)


def test_a_token_that_ended_meanwhile_is_not_handed_out(cast: Cast) -> None:
    code = approved(cast)["code"]
    end_other_sessions(actor=cast.principal(cast.bob), user=cast.bob)
    with pytest.raises(Invisible):
        redeem(code)


def test_a_token_that_was_edited_meanwhile_is_not_handed_out(cast: Cast, sql: Callable[..., None]) -> None:
    code = approved(cast)["code"]
    sql("UPDATE environments_app_personaltoken SET prefix = 'other'")
    with pytest.raises(Invisible):
        redeem(code)
    assert not PersonalToken.objects.get().is_authentic()


def test_neither_flow_takes_what_is_of_the_other(cast: Cast) -> None:
    code = approved(cast)["code"]
    (row,) = DeviceSignIn.objects.all()
    with pytest.raises(Invisible):
        device.find_waiting(actor=cast.principal(cast.bob), code=row.user_code)
    with pytest.raises(Invisible):
        device.redeem(device_code=code, address=HERE)
    started = device.start(name="x", address=HERE)
    with pytest.raises(Invisible):
        redeem(started.device_code)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client_name", ""), ("client_name", "x" * 101), ("client_name", "a\nb"), ("port", ""), ("port", "80"),
        ("port", "70000"), ("port", "1234@evil.example"), ("port", "٣٤٥٦"), ("state", "short"), ("state", "s" * 16 + "&x=y"),
        ("code_challenge", "c" * 42), ("code_challenge", "plain text of the method plain, as it is not"),
    ],
)  # fmt: skip
def test_a_request_that_is_not_well_formed_leads_nowhere(
    cast: Cast, signed_in: Callable[[User], Client], field: str, value: str
) -> None:
    with pytest.raises(InvalidField):
        loopback.parse_request({**GIVEN, field: value})
    response = signed_in(cast.bob).get("/loopback", {**GIVEN, field: value})
    assert (response.status_code, "Refresh" in response.headers) == (400, False)


def test_only_a_person_with_a_fresh_session_approves(cast: Cast) -> None:
    asked = loopback.parse_request(GIVEN)
    wanted: dict[str, Any] = {"asked": asked, "environment": "", "prefix": "", "lifetime": timedelta(hours=1)}
    stale = replace(cast.principal(cast.bob), confirmed=False)
    with pytest.raises(ConfirmationNeeded):
        loopback.approve(actor=stale, **wanted)
    _, text = issue_personal(actor=cast.principal(cast.bob), name="laptop")
    with pytest.raises(Forbidden):
        loopback.approve(actor=authenticate_personal(text, address=HERE), **wanted)


def test_the_page_approves_nothing_by_its_address_and_leads_back_after_the_button(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    assert Client().get("/loopback", GIVEN)["Location"].startswith("/sign-in")
    browser = signed_in(cast.bob)
    page = browser.get("/loopback", GIVEN).content.decode()
    assert "bob@laptop" in page
    assert "127.0.0.1:50123" in page
    assert not PersonalToken.objects.exists()
    denied = browser.post("/loopback/answer", {**GIVEN, "deny": "yes"})
    assert denied["Refresh"] == f"0; url=http://127.0.0.1:50123/?error=access_denied&state={GIVEN['state']}"
    assert not PersonalToken.objects.exists()
    answer = browser.post("/loopback/answer", {**GIVEN, "environment": "", "prefix": "", "hours": "2"})
    code = dict(parse_qsl(urlsplit(answer["Refresh"].partition("url=")[2]).query))["code"]
    body = {"code": code, "code_verifier": VERIFIER}
    given = Client().post("/api/loopback/token", body, content_type="application/json")
    assert "no-store" in given["Cache-Control"]
    assert authenticate_personal(given.json()["access_token"], address=HERE).name == "bob"
