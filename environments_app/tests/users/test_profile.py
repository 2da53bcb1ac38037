import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.environments.service import update_environment
from environments_app.errors import InvalidField
from environments_app.models import Session
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.users import accounts

pytestmark = pytest.mark.every_database_weekly

NEW = "a-wholly-new-passphrase"
Events = Callable[..., list[AuditEvent]]


@pytest.fixture
def alice(cast: Cast) -> Client:
    return entered("alice")


def entered(name: str, agent: str = "Firefox") -> Client:
    client = Client(headers={"user-agent": agent})
    assert client.post("/sign-in", {"username": name, "password": PASSWORD}).status_code == 302
    return client


def lives(client: Client) -> bool:
    return client.get("/api/whoami").status_code == 200


def change(client: Client, **fields: str) -> Any:
    form = {"current": PASSWORD, "password": NEW, "again": NEW} | fields
    return client.post("/profile/password", form)


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\x00b", "a\x1bb", "a\u202eb", "a\u2066b", "a\u2028b"])
def test_a_name_is_one_line_and_turns_no_direction(cast: Cast, name: str) -> None:
    with pytest.raises(InvalidField):
        accounts.set_own_name(actor=cast.principal(cast.alice), user=cast.alice, display_name=name)
    for change in (accounts.create_user, accounts.update_user):
        about = {"username": "new"} if change is accounts.create_user else {"user": cast.bob}
        with pytest.raises(InvalidField):
            change(actor=cast.principal(cast.root), display_name=name, **about)
    with pytest.raises(InvalidField):
        update_environment(actor=cast.principal(cast.alice), environment=cast.development, display_name=name)
    cast.alice.refresh_from_db()
    assert cast.alice.display_name == ""
    kept = accounts.set_own_name(
        actor=cast.principal(cast.alice), user=cast.alice, display_name="Zoë d'Été 山田"
    )
    assert kept.display_name == "Zoë d'Été 山田"


def test_it_shows_where_one_is_signed_in(alice: Client) -> None:
    entered("alice", agent="Another/1.0")
    entered("root", agent="Somebody/2.0")
    page = alice.get("/profile").content.decode()
    assert "Current session" in page
    assert "Another/1.0" in page
    assert "Somebody/2.0" not in page
    assert alice.cookies["sessionid"].value not in page


def test_another_session_is_ended_and_that_is_recorded(alice: Client, events: Events) -> None:
    other = entered("alice", agent="Another/1.0")
    row = Session.objects.get(agent="Another/1.0")
    assert alice.post("/profile/sessions/end", {"session": row.session_key}).status_code == 302
    assert not lives(other)
    assert lives(alice)
    assert [event.actor_name for event in events(Action.SESSION_END)] == ["alice"]


def test_nobody_ends_sessions_of_others(alice: Client, events: Events) -> None:
    root = entered("root", agent="Root/1.0")
    alice.post("/profile/sessions/end", {"session": Session.objects.get(agent="Root/1.0").session_key})
    assert lives(root)
    assert not events(Action.SESSION_END)


def test_a_session_ends_when_it_is_not_used(alice: Client, settings: Settings) -> None:
    settings.KEEPER_SESSION_IDLE_SECONDS = 600
    Session.objects.update(last_seen_at=timezone.now() - timedelta(seconds=540))
    assert lives(alice)
    # Being used, it lives on.
    assert Session.objects.get().last_seen_at > timezone.now() - timedelta(seconds=60)
    Session.objects.update(last_seen_at=timezone.now() - timedelta(seconds=610))
    assert not lives(alice)


def test_use_does_not_prolong_a_session_beyond_its_end(alice: Client, settings: Settings) -> None:
    end = Session.objects.get().expire_date
    alice.post("/confirm", {"password": PASSWORD})
    assert Session.objects.get().expire_date <= end
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert not lives(alice)


def test_disabling_ends_sessions_for_good(cast: Cast, alice: Client) -> None:
    root = cast.principal(cast.root)
    accounts.disable_user(actor=root, user=cast.alice)
    assert not lives(alice)
    accounts.update_user(actor=root, user=cast.alice, is_active=True)
    assert not lives(alice)


def test_a_new_password_of_ones_own_ends_the_other_sessions(alice: Client) -> None:
    other, before = entered("alice"), alice.cookies["sessionid"].value
    assert change(alice).status_code == 302
    assert lives(alice)
    assert alice.cookies["sessionid"].value != before
    assert not lives(other)
    assert Client().post("/sign-in", {"username": "alice", "password": NEW}).status_code == 302


@pytest.mark.parametrize(
    "fields",
    [
        {"current": "wrong"},
        {"again": "another-new-passphrase"},
        {"password": "short", "again": "short"},
        {"password": "password1234", "again": "password1234"},
        {"password": "alice-alice-alice", "again": "alice-alice-alice"[:0]},
    ],
)
def test_a_bad_password_is_not_taken(cast: Cast, alice: Client, fields: dict[str, str]) -> None:
    before = cast.alice.password
    response = change(alice, **fields)
    assert response.status_code == 422
    assert NEW not in response.content.decode()
    cast.alice.refresh_from_db()
    assert cast.alice.password == before


def test_guessing_the_current_password_is_limited_by_session(alice: Client) -> None:
    thief = entered("alice")
    for _ in range(3):
        change(thief, current="wrong")
    for refused in (change(thief), thief.post("/confirm", {"password": PASSWORD})):
        assert (refused.status_code, 0 < int(refused["Retry-After"]) <= 30) == (429, True)
        assert re.search(rb"Too many attempts. Try again in \d+ seconds?\.", refused.content)
    assert alice.post("/confirm", {"password": PASSWORD}).status_code == 302
    assert change(alice).status_code == 302


# --- A fresh sign-in -----------------------------------------------------------------------------


@pytest.fixture
def old(alice: Client, settings: Settings) -> Client:
    """Alice, who signed in too long ago."""
    settings.KEEPER_REAUTH_SECONDS = -1
    return alice


def test_a_token_is_issued_only_to_who_is_fresh(old: Client, settings: Settings, events: Events) -> None:
    form = {"name": "ci", "role": "viewer"}
    response = old.post("/environments/development/tokens", form)
    assert response.status_code == 422
    # The form asks for the password itself.
    assert b'name="proof-password"' in response.content
    assert b'value="ci"' in response.content
    api = old.post("/api/environments/development/tokens", form, content_type="application/json")
    assert (api.status_code, api.json()["title"]) == (403, "Confirm your password")
    assert not events(Action.TOKEN_ISSUE)
    settings.KEEPER_REAUTH_SECONDS = 900
    assert old.post("/environments/development/tokens", form).status_code == 200


def test_an_environment_is_exported_only_to_who_is_fresh(old: Client, settings: Settings) -> None:
    assert old.get("/api/environments/development/export").status_code == 403
    settings.KEEPER_REAUTH_SECONDS = 900
    assert old.get("/api/environments/development/export").status_code == 200


def test_the_glass_is_broken_only_by_who_is_fresh(cast: Cast, settings: Settings, events: Events) -> None:
    root = entered("root")
    settings.KEEPER_REAUTH_SECONDS = -1
    grant = {"username": "charlie", "role": "reader"}
    assert root.post("/environments/development/members", grant).status_code == 422
    assert not events(Action.BREAK_GLASS)
    # What opens no value is asked of nobody.
    viewer = grant | {"role": "viewer"}
    assert root.post("/environments/development/members", viewer).status_code == 302


def test_confirming_makes_a_session_fresh(alice: Client, events: Events) -> None:
    session = alice.session
    session["confirmed_at"] = 1
    session.save()
    assert alice.get("/api/environments/development/export").status_code == 403
    assert alice.post("/confirm", {"password": "wrong"}).status_code == 422
    assert alice.get("/api/environments/development/export").status_code == 403
    before = alice.cookies["sessionid"].value
    response = alice.post("/confirm", {"password": PASSWORD, "next": "/environments"})
    assert response["Location"] == "/environments"
    assert alice.cookies["sessionid"].value != before
    assert alice.get("/api/environments/development/export").status_code == 200
    assert len(events(Action.SESSION_CONFIRM)) == 1


@pytest.mark.parametrize(
    ("target", "arrives"),
    [("/secrets?q=1", "/secrets?q=1"), ("https://evil.example/", "/"), ("//evil.example", "/"), ("javascript:alert(1)", "/"), ("", "/")],
)  # fmt: skip
def test_confirming_leads_inside_only(alice: Client, target: str, arrives: str) -> None:
    """As sign-in does, whether the page or its form names where to go."""
    assert alice.get("/confirm", {"next": target}).context["next"] in {arrives, ""}
    for address, fields in (("/confirm", {"next": target}), (f"/confirm?{urlencode({'next': target})}", {})):
        assert alice.post(address, {"password": PASSWORD, **fields})["Location"] == arrives


def test_programs_are_never_asked(bearer: Callable[..., Client], cast: Cast, settings: Settings) -> None:
    settings.KEEPER_REAUTH_SECONDS = -1
    client = bearer("reader", cast.development)
    assert client.get("/api/environments/development/export").status_code == 200
