"""The search table follows the audit log: completely, in order, after crashes, and beside a second worker."""

import threading
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.db.models import F

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor, ActorKind
from audit_app.models import AuditEvent, SearchEntry, SearchPosition
from audit_app.queries import search_index
from audit_app.queries.search import find
from audit_app.queries.stream_follower import StreamFollower
from audit_app.recording.drafts import AuditObject
from audit_app.tasks import index_events
from audit_app.tests.trail import ALICE, STREAM, entries, sql, take_away, write

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
_COLUMNS = ("outcome", "address", "request_id", "actor_name", "object_name", "manifest_id")


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_index, "EVENTS_PER_STEP", 4)


def differing() -> set[int]:
    """Return the events whose row in the search table is missing or holds something else."""
    stored = set(SearchEntry.objects.values_list("event_id", *_COLUMNS))
    return {row[0] for row in set(AuditEvent.objects.values_list("id", *_COLUMNS)) ^ stored}


def bob(number: int) -> Actor:
    return Actor(
        kind=ActorKind.TOKEN,
        uuid=UUID(int=number),
        name=f"bob-{number}",
        address="192.0.2.7",
        request_id=f"{number:032x}",
    )


def test_it_follows_each_stream_and_says_how_much_it_lacks() -> None:
    write(9)
    write(3, stream="environment:b", outcome=Outcome.DENIED, manifest=entries(2))
    assert search_index.behind() == AuditEvent.objects.count() > 12
    index_events()
    assert search_index.behind() == 0
    assert differing() == set()
    write(1)
    assert search_index.behind() == 1


def test_nothing_is_written_to_it_when_an_event_is_recorded() -> None:
    write(3)
    assert not SearchEntry.objects.exists()
    assert not SearchPosition.objects.exists()


def test_a_search_adds_the_little_that_is_missing() -> None:
    write(9)
    found = find(viewer=ALICE, stream=STREAM, actor_name="alice")
    assert ([event.sequence for event in found.events], found.behind) == (list(range(9, 0, -1)), 0)
    write(1)
    newest = find(viewer=ALICE, stream=STREAM, address="192.0.2.1").events.first()
    assert newest is not None
    assert newest.sequence == 10


def test_a_search_says_how_far_it_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    write(9)
    search_index.fill()
    monkeypatch.setattr(search_index, "_CAUGHT_UP_BY_A_SEARCH", 3)
    write(4)
    found = find(viewer=ALICE, stream=STREAM, actor_name="alice")
    assert ([event.sequence for event in found.events], found.behind) == (list(range(9, 0, -1)), 4)
    # What needs no search lacks nothing.
    allowed = find(viewer=ALICE, stream=STREAM, outcome=Outcome.ALLOWED)
    assert (len(allowed.events), allowed.behind) == (13, 0)
    by_actor = find(viewer=ALICE, stream=STREAM, actor=ALICE.uuid, address="192.0.2.1")
    assert (len(by_actor.events), by_actor.behind) == (13, 0)


def test_a_search_beside_a_writer_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    write(2)

    def collide(_follower: object, _stream: str) -> int:
        error = OperationalError(1213, "deadlock")
        error.__cause__ = None
        raise error

    lacking = search_index.behind()
    monkeypatch.setattr(StreamFollower, "step", collide)
    assert search_index.catch_up() == lacking > 0


@pytest.mark.parametrize("statement", ["REPLACE", "UPDATE"])
def test_a_crash_between_any_two_statements_leaves_nothing_half_done(statement: str) -> None:
    write(6)

    def crash(execute: Any, text: str, parameters: Any, many: bool, context: Any) -> Any:
        result = execute(text, parameters, many, context)
        if text.startswith(statement):
            raise RuntimeError("the worker died")
        return result

    with pytest.raises(RuntimeError), connection.execute_wrapper(crash):
        search_index.fill()
    assert not SearchEntry.objects.exists()
    assert not SearchPosition.objects.exclude(sequence=0).exists()
    search_index.fill()
    assert differing() == set()
    assert search_index.behind() == 0


def test_what_was_added_twice_is_there_once() -> None:
    write(6)
    search_index.fill()
    SearchPosition.objects.update(sequence=2)
    search_index.fill()
    assert differing() == set()
    assert SearchEntry.objects.count() == AuditEvent.objects.count()


def test_a_run_ends_in_time_and_the_next_one_continues() -> None:
    write(9)
    total = search_index.behind()
    assert search_index.fill(seconds=-1) == 4
    assert search_index.behind() == total - 4
    search_index.fill(seconds=60)
    assert differing() == set()


@pytest.mark.django_db(transaction=True)
def test_two_workers_fill_it_together(transactional_db: None) -> None:
    write(40)
    write(40, stream="environment:b")
    failed: list[BaseException] = []

    def work() -> None:
        try:
            search_index.fill()
        except BaseException as error:  # noqa: BLE001 - the test shows it
            failed.append(error)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    write(10)
    for worker in workers:
        worker.join()
    search_index.fill()
    assert failed == []
    assert differing() == set()


@pytest.mark.django_db(transaction=True)
def test_an_event_that_commits_later_than_a_higher_id_is_not_left_out() -> None:
    """Ids of different streams are not committed in order, where writers of different streams do not wait."""
    if connection.vendor == "sqlite":
        pytest.skip("one writer at a time")
    has_written, may_commit = threading.Event(), threading.Event()

    def write_late() -> None:
        with transaction.atomic():
            write(1, stream="environment:late")
            has_written.set()
            may_commit.wait(60)
        connection.close()

    write(1)
    write(1, stream="environment:late")
    late = threading.Thread(target=write_late)
    late.start()
    assert has_written.wait(60)
    write(1)
    search_index.fill()
    may_commit.set()
    late.join()
    search_index.fill()
    assert differing() == set()


def test_an_edited_row_shows_no_other_event() -> None:
    write(1)
    write(1, outcome=Outcome.DENIED, actor=bob(2), object=AuditObject("secret", UUID(int=8), "app/other"))
    search_index.fill()
    first = AuditEvent.objects.get(stream=STREAM, sequence=1)
    SearchEntry.objects.filter(event=first).update(
        outcome=Outcome.DENIED,
        actor_name="mallory",
        address="192.0.2.9",
        request_id="m" * 32,
        object_name="mallory/db",
    )
    for wanted in (
        {"outcome": Outcome.DENIED},
        {"actor_name": "mallory"},
        {"address": "192.0.2.9"},
        {"request_id": "m" * 32},
        {"object_name": "mallory/db"},
        {"text": "mallory"},
    ):
        found = find(viewer=ALICE, stream=STREAM, **wanted).events
        assert [event.sequence for event in found] == ([2] if "outcome" in wanted else []), wanted
    search_index.rebuild()
    assert [e.sequence for e in find(viewer=ALICE, stream=STREAM, actor_name="alice").events] == [1]


def test_it_is_rebuilt_whatever_was_done_to_it() -> None:
    write(9)
    search_index.fill()
    lost = SearchEntry.objects.order_by("event_id")
    take_away(SearchEntry.objects.filter(pk=lost[2].pk))
    SearchEntry.objects.filter(pk=lost[4].pk).update(actor_name="mallory")
    SearchEntry.objects.create(event_id=10**9, outcome="denied", address="", actor_name="", object_name="")
    SearchPosition.objects.update(sequence=F("sequence") + 1_000)
    assert len(differing()) == 3
    call_command("audit_search", "--rebuild")
    assert differing() == set()
    assert search_index.behind() == 0


def test_a_search_by_another_order_stays_in_that_order() -> None:
    for number in (3, 1, 2):
        write(1, actor=bob(number), action=Action.SECRET_UPDATE)
    found = find(viewer=ALICE, stream=STREAM, address="192.0.2.7").events
    assert [event.sequence for event in found] == [3, 2, 1]
    assert [event.sequence for event in found.order_by("id")] == [1, 2, 3]
    assert [event.sequence for event in found.order_by("actor_name")] == [2, 3, 1]
    assert [event.sequence for event in found.exclude(actor_name="bob-1").order_by("pk")] == [1, 3]


def test_a_stream_without_head_stops_nothing() -> None:
    write(3)
    search_index.fill()
    sql("DELETE FROM audit_app_streamhead WHERE stream = %s", STREAM)
    write(2, stream="environment:b")
    search_index.fill()
    assert find(viewer=ALICE, stream="environment:b", actor_name="alice").behind == 0
