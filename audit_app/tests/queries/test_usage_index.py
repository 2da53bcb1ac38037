"""The counts of use follow the audit log: each event once, after crashes, beside a second worker, on both databases."""

import threading
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from audit_app.events.actions import UNSEEN, Action, Outcome
from audit_app.events.actors import Actor, ActorKind
from audit_app.models import AuditEvent, ManifestUse, SecretUse, UsageEntry, UsagePosition
from audit_app.queries import usage_index
from audit_app.recording.drafts import AuditObject
from audit_app.tasks import index_events
from audit_app.tests.trail import ALICE, SECRET, STREAM, entries, sql, write
from core.canonical_json import parsed_details

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
_SHOWN = ("actor_uuid", "means", "count", "first_at", "last_at", "last_event_id", "actor_name")


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_index, "EVENTS_PER_STEP", 4)


def stored() -> list[tuple[Any, ...]]:
    singles = UsageEntry.objects.values_list("object_uuid", "number", *_SHOWN)
    return sorted([*singles, *ManifestUse.objects.values_list("manifest_id", "stream", *_SHOWN)], key=str)


def by_one_pass() -> list[tuple[Any, ...]]:
    """Return what `stored` is to be, by a plain walk over all events."""
    rows: dict[tuple[Any, ...], list[Any]] = {}
    for event in AuditEvent.objects.order_by("id"):
        if event.outcome != Outcome.ALLOWED or event.action in UNSEEN:
            continue
        details = parsed_details(event.details)
        shown = "write" if details.get("purpose") == "rollback" else "read"
        means = {
            Action.SECRET_REVEAL: "share" if "share" in details else shown,
            Action.SECRET_EXPORT: "export",
            Action.SECRET_COPY: "copy",
            Action.SECRET_COMPARE: "compare",
            Action.SECRET_DELIVER: "deliver",
        }.get(event.action, "write")  # type: ignore[call-overload]  # stored as text
        if event.manifest_id:
            key: tuple[Any, ...] = (event.manifest_id, event.stream, event.actor_uuid, means)
        elif event.object_kind == "secret" and ("number" in details or event.action == Action.SECRET_REVEAL):
            key = (event.object_uuid, details.get("number", 0), event.actor_uuid, means)
        else:
            continue
        row = rows.setdefault(key, [0, event.at, event.at, 0, ""])
        row[:] = [row[0] + 1, min(row[1], event.at), max(row[2], event.at), event.pk, event.actor_name]
    return sorted([(*key, *row) for key, row in rows.items()], key=str)


def history(count: int, seed: int = 5) -> None:
    random = Random(seed)
    lists = [entries(2), entries(3)]
    for _ in range(count):
        actor = Actor(kind=ActorKind.TOKEN, uuid=UUID(int=random.randrange(1, 4)), name=random.choice("abc"))
        changed: dict[str, Any] = {
            "actor": actor,
            "stream": random.choice([STREAM, "environment:b"]),
            "outcome": random.choice([*[Outcome.ALLOWED] * 5, Outcome.DENIED, Outcome.FAILED]),
        }
        if random.random() < 0.3:
            write(action=Action.SECRET_EXPORT, manifest=random.choice(lists), **changed)
            continue
        details: dict[str, Any] = {"number": random.randrange(1, 4)} if random.random() < 0.9 else {}
        action = random.choice([*[Action.SECRET_REVEAL] * 4, Action.SECRET_UPDATE, *sorted(UNSEEN)])
        secret = AuditObject("secret", UUID(int=random.randrange(7, 9)), "app/db")
        if random.random() < 0.1:
            details |= random.choice([{"share": "x"}, {"purpose": "rollback"}])
        # A secret of one environment has its events in that stream.
        write(action=action, details=details, object=secret, **changed | {"stream": STREAM})


def test_each_event_is_counted_once_as_a_plain_walk_counts_it() -> None:
    history(90)
    assert usage_index.behind() > 90
    # A pass ends after some time, which is short on a busy machine.
    for _ in range(90):
        index_events()
    assert usage_index.behind() == 0
    assert stored() == by_one_pass() != []
    history(40, seed=6)
    usage_index.fill()
    assert stored() == by_one_pass()


def test_nothing_is_written_to_them_when_an_event_is_recorded() -> None:
    write(3)
    assert not UsageEntry.objects.exists()
    assert not UsagePosition.objects.exists()


@pytest.mark.parametrize("statement", ["INSERT INTO", "UPDATE"])
def test_a_kill_between_any_two_statements_counts_nothing_twice(statement: str) -> None:
    history(12)
    left = [3]

    def crash(execute: Any, text: str, parameters: Any, many: bool, context: Any) -> Any:
        result = execute(text, parameters, many, context)
        if text.startswith(statement) and left[0]:
            left[0] -= 1
            raise RuntimeError("the worker died")
        return result

    for _ in range(3):
        with pytest.raises(RuntimeError), connection.execute_wrapper(crash):
            usage_index.fill()
    usage_index.fill()
    assert stored() == by_one_pass()


@pytest.mark.django_db(transaction=True)
def test_two_workers_count_together(transactional_db: None) -> None:
    history(60)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            usage_index.fill()
        except BaseException as error:  # noqa: BLE001 - the test shows it
            failed.append(error)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    write(10, details={"number": 1})
    for worker in workers:
        worker.join()
    usage_index.fill()
    assert failed == []
    assert stored() == by_one_pass()


def test_they_are_counted_again_whatever_was_done_to_them() -> None:
    history(30)
    usage_index.fill()
    UsageEntry.objects.update(count=99)
    sql("DELETE FROM audit_app_manifestuse")
    sql("UPDATE audit_app_usageposition SET sequence = sequence + 1000")
    call_command("audit_usage", "--rebuild")
    assert stored() == by_one_pass()
    assert usage_index.behind() == 0


def test_a_secret_was_last_used_when_a_value_left_and_not_when_it_was_written() -> None:
    write(action=Action.SECRET_CREATE, details={"number": 1})
    usage_index.fill()
    assert not SecretUse.objects.exists()
    write(details={"number": 1})
    usage_index.fill()
    (at,) = SecretUse.objects.filter(secret_uuid=SECRET.uuid).values_list("last_at", flat=True)
    assert at == AuditEvent.objects.latest("pk").at


def test_equal_exports_mark_their_secrets_every_few_hours_only(monkeypatch: pytest.MonkeyPatch) -> None:
    many = entries(3)
    marked: list[int] = []
    mark = usage_index._mark

    def counted(rows: dict[Any, Any]) -> None:
        marked.append(len(rows))
        mark(rows)

    monkeypatch.setattr(usage_index, "_mark", counted)

    def export() -> None:
        write(action=Action.SECRET_EXPORT, manifest=many)
        usage_index.fill()

    export()
    export()
    assert sum(marked) == 3
    assert SecretUse.objects.count() == 3
    earlier = timezone.now() - timedelta(hours=usage_index.MARK_HOURS)
    ManifestUse.objects.update(marked_at=earlier)
    export()
    assert sum(marked) == 6
    (use,) = ManifestUse.objects.all()
    assert (use.count, use.actor_uuid) == (3, ALICE.uuid)


def test_an_old_value_that_does_not_fit_is_version_unknown() -> None:
    for number in ("7", -1, 2**40, None):
        write(details={"number": number})
    usage_index.fill()
    assert set(UsageEntry.objects.values_list("number", flat=True)) == {0}


Statements = Callable[[int], Any]


def test_a_step_writes_few_statements_however_many_readers(django_assert_max_num_queries: Statements) -> None:
    write(1)
    usage_index.fill()
    for number in range(1, 5):
        write(actor=Actor(kind=ActorKind.TOKEN, uuid=UUID(int=number), name="t"), details={"number": 1})
    with django_assert_max_num_queries(11):
        usage_index.FOLLOWER.step(STREAM)
