import re
from collections.abc import Callable

import pytest
from django.http import HttpResponse
from django.test import Client
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent, RefusalCount
from environments_app.models import Session
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.users import accounts

Events = Callable[..., list[AuditEvent]]


def sign_in(client: Client, username: str = "alice", password: str = PASSWORD, **fields: str) -> HttpResponse:
    return client.post("/sign-in", {"username": username, "password": password, **fields})  # type: ignore[return-value]


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_the_right_password_starts_a_session(cast: Cast, client: Client, events: Events) -> None:
    response = sign_in(client)
    assert response.status_code == 302
    assert is_signed_in(client)
    (event,) = events(Action.SIGN_IN)
    assert (event.actor_name, event.object_name, event.outcome, event.address) == (
        "alice",
        "alice",
        "allowed",
        "127.0.0.1",
    )


def test_a_planted_session_id_is_worth_nothing(cast: Cast, client: Client) -> None:
    session = client.session
    session["planted"] = True
    session.save()
    planted = session.session_key
    client.cookies["sessionid"] = planted or ""
    sign_in(client)
    assert client.session.session_key != planted
    assert not Client(headers={"cookie": f"sessionid={planted}"}).session.get("_auth_user_id")


def test_whoever_signs_in_again_gets_another_session_id(cast: Cast, client: Client) -> None:
    sign_in(client)
    before = client.session.session_key
    sign_in(client)
    assert is_signed_in(client)
    assert client.session.session_key != before
    assert not Client(headers={"cookie": f"sessionid={before}"}).session.get("_auth_user_id")


def test_a_wrong_password_is_recorded_with_whom_it_was_tried_on(
    cast: Cast, client: Client, events: Events
) -> None:
    response = sign_in(client, password="wrong-password")
    assert response.status_code == 200
    assert not is_signed_in(client)
    (event,) = events(Action.SIGN_IN)
    assert (event.actor_kind, event.object_name, event.outcome) == ("anonymous", "alice", "denied")
    assert "wrong-password" not in str(vars(event))
    assert b"wrong-password" not in response.content


def test_an_unknown_name_is_counted_but_not_written_down(cast: Cast, client: Client, events: Events) -> None:
    # Somebody may type a password into the field for the name.
    response = sign_in(client, username="hunter2secret")
    assert b"Incorrect username or password." in response.content
    assert not events(Action.SIGN_IN)
    assert RefusalCount.objects.get().kind == "sign-in"


def test_unknown_and_known_names_are_answered_alike(cast: Cast) -> None:
    answers = [sign_in(Client(), username=name, password="wrong-password") for name in ("alice", "nobod")]
    texts = [answer.content.decode().replace("nobod", "alice") for answer in answers]
    assert _without_tokens(texts[0]) == _without_tokens(texts[1])


def test_an_address_that_fails_too_often_waits(
    cast: Cast, client: Client, settings: Settings, one_minute: None
) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 3
    for number in range(3):
        sign_in(client, username=f"user{number}")
    response = sign_in(client)
    assert response.status_code == 429
    assert int(response["Retry-After"]) > 0
    assert not is_signed_in(client)


def test_an_account_that_is_tried_too_often_waits(cast: Cast, client: Client) -> None:
    for _ in range(3):
        assert sign_in(client, username="Alice", password="wrong").status_code == 200
    refused = sign_in(client)
    assert (refused.status_code, 0 < int(refused["Retry-After"]) <= 30) == (429, True)
    assert re.search(rb"Too many attempts. Try again in \d+ seconds?\.", refused.content)
    assert not is_signed_in(client)
    assert sign_in(client, username="root").status_code == 302


def test_signing_out_says_that_it_happened(cast: Cast, client: Client) -> None:
    sign_in(client)
    page = client.post("/sign-out", follow=True).content.decode()
    assert "You have been signed out." in page
    assert "You have been signed out." not in client.get("/sign-in").content.decode()


def test_the_right_password_starts_the_count_anew(cast: Cast, client: Client) -> None:
    for _ in range(2):
        for _ in range(2):
            sign_in(client, password="wrong")
        assert sign_in(client).status_code == 302
        client.post("/sign-out")
    assert sign_in(client, password="wrong").status_code == 200


@pytest.mark.parametrize(
    ("target", "arrives"),
    [("/secrets?q=1", "/secrets?q=1"), ("https://evil.example/", "/"), ("//evil.example", "/"), ("javascript:alert(1)", "/"), ("", "/")],
)  # fmt: skip
def test_it_leads_inside_only(cast: Cast, client: Client, target: str, arrives: str) -> None:
    assert sign_in(client, next=target)["Location"] == arrives


def test_the_form_is_protected_against_csrf(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    assert sign_in(client).status_code == 403
    assert not is_signed_in(client)


def test_strangers_leave_no_session_behind(cast: Cast) -> None:
    for _ in range(3):
        client = Client()
        client.get("/sign-in")
        client.get("/", follow=True)
        sign_in(client, password="wrong")
    assert not Session.objects.exists()


def test_the_csrf_token_is_for_forms_and_no_script(cast: Cast, client: Client) -> None:
    client.get("/sign-in")
    cookie = client.cookies["csrftoken"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


def test_no_script_reads_a_cookie_of_a_session(cast: Cast, client: Client) -> None:
    client.get("/sign-in")
    cookies = sign_in(client).cookies | client.cookies
    assert {"sessionid", "csrftoken"} <= cookies.keys()
    assert {(cookie["httponly"], cookie["samesite"]) for cookie in cookies.values()} == {(True, "Lax")}


def test_signing_out_ends_the_session_and_is_recorded(cast: Cast, client: Client, events: Events) -> None:
    sign_in(client)
    key = client.session.session_key
    assert client.get("/sign-out").status_code == 405
    assert is_signed_in(client)
    assert client.post("/sign-out").status_code == 302
    assert not is_signed_in(client)
    assert client.session.session_key != key
    assert events(Action.SIGN_OUT)[0].actor_name == "alice"


def test_a_new_password_ends_the_sessions(cast: Cast, client: Client) -> None:
    sign_in(client)
    accounts.set_password(
        actor=cast.principal(cast.root), user=cast.alice, password="another-long-passphrase"
    )
    assert client.get("/api/whoami").status_code in {401, 403}


def test_who_is_signed_in_needs_no_form(cast: Cast, client: Client) -> None:
    sign_in(client)
    assert client.get("/sign-in").status_code == 302


def _without_tokens(page: str) -> str:
    random = ("csrfmiddlewaretoken", 'name="challenge"', "data-passkey-get")
    return "\n".join(line for line in page.splitlines() if not any(name in line for name in random))
