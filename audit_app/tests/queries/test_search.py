from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action, Outcome
from audit_app.models import AuditEvent
from audit_app.queries import search_index
from audit_app.queries.search import EVERY_READ, acts, events, find
from audit_app.tests.trail import ALICE, STREAM, entries, write
from audit_app.views import EventFilterForm, EventOrder
from core.pagination import KeysetPagination

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


def found(**filters: Any) -> list[int]:
    return [event.sequence for event in find(viewer=ALICE, stream=STREAM, **filters).events]


def test_it_finds_the_newest_first() -> None:
    write(3)
    assert found() == [3, 2, 1]


def test_it_filters_by_what_is_given() -> None:
    write(1)
    write(1, action=Action.SECRET_UPDATE, outcome=Outcome.DENIED)
    assert found(action=Action.SECRET_UPDATE) == [2]
    assert found(outcome=Outcome.ALLOWED) == [1]
    assert found(actor=ALICE.uuid, actor_name="alice") == [2, 1]
    assert found(actor=UUID(int=99)) == []
    assert found(object_name="app/db") == [2, 1]
    assert found(since=timezone.now() - timedelta(minutes=1)) == [2, 1]
    assert found(until=timezone.now() - timedelta(minutes=1)) == []


def test_it_finds_every_read_by_one_name() -> None:
    for action in (Action.SECRET_REVEAL, Action.SECRET_EXPORT, Action.SECRET_UPDATE, Action.SECRET_DELIVER):
        write(1, action=action)
    assert found(**acts(EVERY_READ)) == [4, 2, 1]
    assert found(**acts("secret.export")) == [2]
    assert found(**acts("")) == [4, 3, 2, 1]


@pytest.mark.parametrize("few", [0, 2, 500])
def test_a_time_finds_the_same_whether_few_or_many_are_that_old(
    monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("audit_app.queries.search._FEW", few)
    for _ in range(3):
        write(1)
    first, second, third = AuditEvent.objects.filter(stream=STREAM).order_by("sequence")
    assert found(since=second.at) == [3, 2]
    assert found(since=first.at, until=third.at) == [2, 1]
    assert found(since=third.at + timedelta(seconds=1)) == []


def test_a_time_in_which_nothing_happened_goes_through_no_stream() -> None:
    write(3)
    with CaptureQueriesContext(connection) as asked:
        assert found(since=timezone.now() + timedelta(days=1), until=timezone.now() + timedelta(days=2)) == []
    assert len(asked) == 1
    assert "stream" not in asked[0]["sql"].partition("WHERE")[2]


def test_it_finds_by_where_and_by_how_a_name_begins() -> None:
    write(1)
    write(1, stream="environment:b")
    assert found(address="192.0.2.1", request_id="r" * 32) == [1]
    assert found(address="192.0.2.9") == []
    assert [event.stream for event in events(viewer=ALICE, environment="b")] == ["environment:b"]
    assert not events(viewer=ALICE, environment="none of theirs").exists()
    for text in ("app/", "app/db", "ali", "192.0.2.1", "r" * 32):
        assert found(text=text) == [1], text
    for text in ("pp/", "192.0.2", "\U0010ffff", "%", "b"):
        assert found(text=text) == [], text


@pytest.mark.parametrize(
    ("filters", "statements"),
    [
        ({"environment": "a"}, 1),
        ({"outcome": "allowed"}, 1),
        # And how much the search table lacks.
        ({"actor": "alice"}, 2),
        ({"address": "192.0.2.1"}, 2),
        ({"q": "app/"}, 2),
        # And which manifests name it.
        ({"object": "app/db"}, 3),
    ],
)
def test_a_page_costs_few_statements_and_no_count(
    filters: dict[str, str], statements: int, django_assert_num_queries: Any, rf: RequestFactory
) -> None:
    write(60)
    search_index.fill()
    request = rf.get("/activity", filters)
    with django_assert_num_queries(statements) as counted:
        rows = KeysetPagination().paginate_queryset(
            find(
                viewer=ALICE, **EventFilterForm(request.GET, viewer=ALICE, environments=["a"]).conditions
            ).events,
            request,
            EventOrder(),
        )
    assert len(rows) == 50
    assert not any("COUNT(" in query["sql"] for query in counted.captured_queries)


def test_a_read_of_many_is_found_by_each_of_them() -> None:
    read = entries(3)
    write(1, manifest=read)
    write(1)
    assert found(object_uuid=UUID(read[2].secret_uuid)) == [1]
    assert found(object_name=read[0].name) == [1]


def test_nobody_reads_a_stream_that_the_policy_does_not_open(settings: Settings) -> None:
    settings.KEEPER_AUDIT_ACCESS_POLICY = "audit_app.tests.keyring.EnvironmentPolicy"
    write(1)
    write(1, stream="environment:b")
    assert {event.stream for event in events(viewer=ALICE)} == {STREAM}
    assert not events(viewer=ALICE, stream="environment:b").exists()
