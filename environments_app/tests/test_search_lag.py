"""Pages and API state how many events a search lacks, and searches show a viewer no other streams."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from audit_app.events.actions import Action, Outcome
from audit_app.events.streams import environment_stream
from audit_app.queries import search_index
from audit_app.recording.recorder import record
from audit_app.tests.trail import SECRET
from environments_app.models import Environment, User
from environments_app.tests.cast import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
SignedIn = Callable[[User], Client]


def denied(cast: Cast, environment: Environment) -> int:
    receipt = record(
        actor=cast.principal(cast.bob),
        action=Action.SECRET_REVEAL,
        stream=environment_stream(environment.uuid),
        object=SECRET,
        outcome=Outcome.DENIED,
    )
    return receipt.sequence


@pytest.mark.parametrize("query", ["outcome=denied", "actor=bob", "q=app/", "object=app/db"])
def test_what_was_just_recorded_is_found(cast: Cast, signed_in: SignedIn, query: str) -> None:
    denied(cast, cast.development)
    page = signed_in(cast.alice).get(f"/activity?{query}").content.decode()
    assert "app/<wbr>db" in page
    assert "behind" not in page


def test_a_lag_is_stated_with_its_number(
    cast: Cast, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    search_index.fill()
    monkeypatch.setattr(search_index, "_CAUGHT_UP_BY_A_SEARCH", 0)
    denied(cast, cast.development)
    alice = signed_in(cast.alice)
    page = alice.get("/activity?outcome=denied").content.decode()
    assert "app/<wbr>db" not in page
    lacking = search_index.behind()
    assert f"The search is {lacking} events behind" in page
    assert alice.get("/api/events?outcome=denied").json()["search_behind"] == lacking + 1
    for complete in ("", "outcome=allowed", f"object_uuid={SECRET.uuid}"):
        answer = alice.get(f"/api/events?{complete}").json()
        assert answer["search_behind"] == 0
    assert [event["outcome"] for event in answer["results"]] == ["denied"]
    assert "behind" not in alice.get("/activity").content.decode()


def test_a_search_shows_no_stream_that_the_viewer_may_not_read(cast: Cast, signed_in: SignedIn) -> None:
    own, other = denied(cast, cast.development), denied(cast, cast.production)
    charlie: Any = signed_in(cast.charlie).get("/api/events?actor=bob").json()
    assert charlie["results"] == []
    root = signed_in(cast.root).get("/api/events?outcome=denied&object=app/db").json()["results"]
    assert {event["sequence"] for event in root} >= {own, other}
    alice = signed_in(cast.alice).get("/api/events?outcome=denied&environment=production").json()["results"]
    assert {event["stream"] for event in alice} <= {environment_stream(cast.production.uuid)}


def test_the_admin_searches_by_the_same_table(
    cast: Cast, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied(cast, cast.development)
    root = signed_in(cast.root)
    path = "/admin/audit_app/auditevent/"
    for query in (
        "q=app/d",
        "outcome=denied",
        "outcome=denied&q=bob",
        "q=secret.reveal",
        "actor_kind=user&q=app",
    ):
        assert "app/db" in root.get(f"{path}?{query}").content.decode(), query
    assert "app/db" not in root.get(f"{path}?outcome=failed&q=app").content.decode()
    monkeypatch.setattr(search_index, "_CAUGHT_UP_BY_A_SEARCH", 0)
    denied(cast, cast.development)
    assert "events behind" in root.get(f"{path}?outcome=denied").content.decode()
