from datetime import timedelta

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from environments_app.models import Session
from environments_app.sessions.store import SIGNED_IN, SessionStore, stored_key
from environments_app.tests.cast import PASSWORD, Cast

pytestmark = pytest.mark.every_database


@pytest.fixture(autouse=True)
def _engine(settings: Settings) -> None:
    settings.SESSION_ENGINE = "environments_app.sessions.store"


@pytest.fixture
def alice(cast: Cast, client: Client) -> Client:
    assert client.post("/sign-in", {"username": "alice", "password": PASSWORD}).status_code == 302
    assert client.get("/api/whoami").status_code == 200
    return client


def with_cookie(key: str) -> Client:
    client = Client()
    client.cookies["sessionid"] = key
    return client


def test_a_session_lasts(alice: Client) -> None:
    assert alice.get("/api/whoami").json()["name"] == "alice"
    assert with_cookie(alice.cookies["sessionid"].value).get("/api/whoami").status_code == 200


def test_what_is_stored_opens_no_session(alice: Client) -> None:
    row = Session.objects.get()
    assert row.session_key != alice.cookies["sessionid"].value
    assert with_cookie(row.session_key).get("/api/whoami").status_code == 401


def test_copied_data_opens_no_other_session(alice: Client) -> None:
    row = Session.objects.get()
    mine = "a" * 32
    Session.objects.create(
        session_key=stored_key(mine), session_data=row.session_data, expire_date=row.expire_date
    )
    assert with_cookie(mine).get("/api/whoami").status_code == 401
    assert alice.get("/api/whoami").status_code == 200


def test_signing_out_deletes_the_row(alice: Client) -> None:
    key = alice.cookies["sessionid"].value
    alice.post("/sign-out")
    assert not Session.objects.filter(session_key=stored_key(key)).exists()
    assert with_cookie(key).get("/api/whoami").status_code == 401


def test_signing_in_again_changes_the_id(alice: Client) -> None:
    before = alice.cookies["sessionid"].value
    alice.post("/sign-out")
    alice.post("/sign-in", {"username": "alice", "password": PASSWORD})
    assert alice.cookies["sessionid"].value != before


def test_no_use_of_a_session_moves_its_end(alice: Client, settings: Settings) -> None:
    store = SessionStore(alice.cookies["sessionid"].value)
    store.load()
    began = Session.objects.get().signed_in_at
    store[SIGNED_IN] = int((began - timedelta(hours=1)).timestamp())
    store.save()
    longest = timedelta(seconds=settings.SESSION_COOKIE_AGE)
    assert Session.objects.get().expire_date <= began - timedelta(hours=1) + longest
    store[SIGNED_IN] = int((began - longest).timestamp())
    store.save()
    assert alice.get("/api/whoami").status_code == 401


def test_expired_sessions_are_cleared(alice: Client) -> None:
    store = SessionStore(alice.cookies["sessionid"].value)
    store.load()
    store.set_expiry(-1)
    store.save()
    assert alice.get("/api/whoami").status_code == 401
    call_command("clearsessions")
    assert not Session.objects.exists()
