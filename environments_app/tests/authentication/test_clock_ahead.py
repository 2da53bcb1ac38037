"""What was begun under a clock that was a day ahead does not outlive its length once the clock is right."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.models import RefusalCount
from environments_app import tasks
from environments_app.authentication import second_factor
from environments_app.errors import Conflict
from environments_app.models import Membership, Role, User
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens.service import issue

pytestmark = pytest.mark.every_database_weekly

SetAhead = Callable[[timedelta], AbstractContextManager[None]]
DAY = timedelta(days=1)


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> SetAhead:
    """Set the clock of Keeper ahead for a while."""

    @contextmanager
    def at(by: timedelta) -> Iterator[None]:
        class Ahead(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Any:
                return datetime.now(tz) + by

        with monkeypatch.context() as patched:
            # The defaults of columns hold `timezone.now` itself.
            patched.setattr("django.utils.timezone.datetime", Ahead)
            patched.setattr("time.time", lambda: Ahead.now(UTC).timestamp())
            yield

    return at


def signed_in(password: str = PASSWORD) -> Client:
    client = Client()
    assert client.post("/sign-in", {"username": "alice", "password": password}).status_code == 302
    return client


def test_a_session(cast: Cast, ahead: SetAhead) -> None:
    with ahead(DAY):
        client = signed_in()
        assert client.get("/api/whoami").status_code == 200
    assert client.get("/api/whoami").status_code == 401
    # Within what clocks of hosts differ, it goes on.
    with ahead(timedelta(minutes=3)):
        client = signed_in()
    assert client.get("/api/whoami").status_code == 200


def test_a_session_that_was_used_under_such_a_clock(cast: Cast, ahead: SetAhead, settings: Settings) -> None:
    settings.SESSION_COOKIE_AGE = 3 * 86_400
    settings.KEEPER_SESSION_IDLE_SECONDS = 2 * 86_400
    client = signed_in()
    with ahead(DAY):
        assert client.get("/api/whoami").status_code == 200
    assert client.get("/api/whoami").status_code == 401


def test_a_session_is_not_open_again_once_its_time_has_come(cast: Cast, ahead: SetAhead) -> None:
    with ahead(DAY):
        client = signed_in()
    lasting = signed_in()
    tasks.end_sessions_of_other_clocks()
    with ahead(DAY):
        assert client.get("/api/whoami").status_code == 401
    assert lasting.get("/api/whoami").status_code == 200


def test_a_host_whose_clock_is_behind_ends_no_session(cast: Cast, ahead: SetAhead) -> None:
    client = signed_in()
    with ahead(-timedelta(hours=1)):
        tasks.end_sessions_of_other_clocks()
    assert client.get("/api/whoami").status_code == 200


def test_a_session_that_was_used_under_such_a_clock_is_not_open_again(
    cast: Cast, ahead: SetAhead, settings: Settings
) -> None:
    settings.SESSION_COOKIE_AGE = 3 * 86_400
    settings.KEEPER_SESSION_IDLE_SECONDS = 2 * 86_400
    client = signed_in()
    with ahead(DAY):
        assert client.get("/api/whoami").status_code == 200
    tasks.end_sessions_of_other_clocks()
    with ahead(DAY):
        assert client.get("/api/whoami").status_code == 401


def test_a_fresh_proof(cast: Cast, ahead: SetAhead) -> None:
    client = signed_in()
    session = client.session
    session["confirmed_at"] = int((datetime.now(UTC) + DAY).timestamp())
    session.save()
    assert client.get("/api/environments/development/export").status_code == 403


def test_a_password_that_waits_for_its_code(cast: Cast) -> None:
    client = Client()
    session = client.session
    session["second_factor_of"] = {
        "user": cast.alice.pk,
        "hash": cast.alice.get_session_auth_hash(),
        "until": int((datetime.now(UTC) + DAY).timestamp()),
    }
    session.save()
    assert client.get("/sign-in/code").status_code == 302


def test_a_token(cast: Cast, ahead: SetAhead) -> None:
    root = cast.principal(cast.root)
    with ahead(DAY):
        expires_at = timezone.now() + timedelta(hours=1)
        _, text = issue(
            actor=root, environment=cast.development, role="reader", name="ci", expires_at=expires_at
        )
        _, lasting = issue(
            actor=root, environment=cast.development, role="reader", name="ci", expires_at=None
        )

    def call(token: str) -> int:
        return Client(headers={"authorization": f"Bearer {token}"}).get("/api/whoami").status_code

    assert call(text) == 401
    assert RefusalCount.objects.get().kind == "token-not-begun"
    # It has no length, and programs go on.
    assert call(lasting) == 200
    with ahead(DAY + timedelta(minutes=30)):
        assert call(text) == 200
    with ahead(DAY + timedelta(minutes=90)):
        assert call(text) == 401


def test_a_grant(cast: Cast, ahead: SetAhead) -> None:
    with ahead(DAY):
        ends = timezone.now() + timedelta(hours=1)
        row = Membership.objects.create(
            environment=cast.production, user=cast.charlie, role=Role.READER, expires_at=ends
        )
        assert len(cast.principal(cast.charlie).grants) == 1
    assert (cast.principal(cast.charlie).grants, row.is_expired) == ((), True)
    with ahead(DAY):
        Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.READER)
    assert [grant.environment_name for grant in cast.principal(cast.charlie).grants] == ["development"]


def test_an_enrolment_of_a_second_factor(cast: Cast, ahead: SetAhead) -> None:
    alice = cast.principal(cast.alice)
    with ahead(DAY):
        second_factor.begin(actor=alice, user=cast.alice)
    with pytest.raises(Conflict):
        second_factor.enrol(actor=alice, user=User.objects.get(pk=cast.alice.pk), code="123456")
