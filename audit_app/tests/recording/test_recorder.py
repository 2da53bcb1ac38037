import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from audit_app.errors import Immutable, KeyringUnavailable
from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.interfaces import forget_keyring
from audit_app.models import AuditEvent, ReadManifest, ReadManifestItem, deployment_uuid
from audit_app.recording.drafts import Receipt
from audit_app.recording.recorder import commit_record, record, record_many
from audit_app.tests.trail import ALICE, SECRET, STREAM, draft, entries, head_sequence, sql, write
from audit_app.verification.stream_verifier import verify
from core.errors import BadDetails

ROOT = Path(__file__).resolve().parents[3]

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


def reveal(**changed: Any) -> Receipt:
    usual: dict[str, Any] = {
        "actor": ALICE,
        "action": Action.SECRET_REVEAL,
        "stream": STREAM,
        "object": SECRET,
    }
    return record(**(usual | changed))


def test_it_stores_what_it_was_told() -> None:
    receipt = reveal(outcome=Outcome.DENIED, details={"number": 3, "tags": ["a", None, True]})
    event = AuditEvent.objects.get(uuid=receipt.event_uuid)
    assert (event.stream, event.sequence) == (STREAM, 1)
    assert (event.actor_kind, event.actor_name, event.address) == ("user", "alice", "192.0.2.1")
    assert (event.action, event.object_name, event.outcome) == ("secret.reveal", "app/db", "denied")
    assert event.details == '{"number":3,"tags":["a",null,true]}'


def test_it_chains_each_event_to_the_one_before() -> None:
    write(3)
    first, second, third = AuditEvent.objects.filter(stream=STREAM).order_by("sequence")
    assert bytes(second.previous_hash) == bytes(first.hash)
    assert bytes(third.previous_hash) == bytes(second.hash)
    assert len(bytes(third.mac)) == 48


def test_streams_are_counted_separately() -> None:
    write(2)
    assert write(1, stream="environment:b")[0].sequence == 1


def test_a_new_stream_is_announced_in_the_system_stream_once() -> None:
    write(2)
    write(1)
    opened = AuditEvent.objects.filter(stream=streams.SYSTEM, action=Action.STREAM_OPEN)
    assert [event.object_name for event in opened] == [STREAM]


def test_record_many_continues_the_chain_and_keeps_the_order() -> None:
    write(2)
    receipts = record_many([draft(object=SECRET, details={"n": n}) for n in range(250)])
    assert [receipt.sequence for receipt in receipts] == list(range(3, 253))
    assert AuditEvent.objects.get(stream=STREAM, sequence=252).details == '{"n":249}'
    assert head_sequence() == 252


def test_record_many_of_nothing_writes_nothing() -> None:
    assert record_many([]) == []
    assert not AuditEvent.objects.exists()


def test_events_of_several_streams_are_chained_each_to_its_own() -> None:
    first = record_many([draft(stream="environment:b"), draft(), draft(stream="environment:b")])
    second = record_many([draft(), draft(stream=streams.SYSTEM), draft(stream="environment:b")])
    told = [(receipt.stream, receipt.sequence) for receipt in [*first, *second]]
    # Opening the two streams took the first places of the system stream.
    assert told == [
        ("environment:b", 1), (STREAM, 1), ("environment:b", 2), (STREAM, 2), ("system", 3), ("environment:b", 3),
    ]  # fmt: skip
    assert list(verify()) == []


def test_a_new_stream_is_opened_beside_events_of_the_system_stream() -> None:
    write()
    receipts = record_many([draft(stream=streams.SYSTEM), draft(stream="environment:b")])
    assert [receipt.sequence for receipt in receipts] == [3, 1]
    assert list(verify()) == []


def test_one_record_takes_three_statements_or_two_ways_to_a_server() -> None:
    write()
    with CaptureQueriesContext(connection) as captured:
        write()
    # The head, the event, the head: to a server the last two go together.
    assert len(captured) == (2 if connection.vendor == "mysql" else 3)


def test_many_records_take_as_many_statements_as_a_few() -> None:
    write()
    with CaptureQueriesContext(connection) as captured:
        write(1_000)
    # The head, the events, the head.
    assert len(captured) == 3


@pytest.mark.parametrize("bad", [1.5, b"x", {1}, (1,), {1: "x"}, [{"deep": 0.5}], 2**70, "\ud800"])
def test_it_refuses_details_without_a_canonical_form(bad: Any) -> None:
    with pytest.raises(BadDetails), transaction.atomic():
        reveal(details={"value": bad})
    assert not AuditEvent.objects.filter(stream=STREAM).exists()


def test_equal_reads_share_one_manifest() -> None:
    read = entries(3)
    reveal(manifest=read)
    reveal(manifest=list(reversed(read)))
    assert ReadManifest.objects.count() == 1
    assert ReadManifestItem.objects.count() == 3
    assert AuditEvent.objects.filter(manifest__items__secret_uuid=read[1].secret_uuid).count() == 2


def test_different_reads_have_different_manifests() -> None:
    read = entries(3)
    reveal(manifest=read)
    reveal(manifest=read[:2])
    assert sorted(ReadManifest.objects.values_list("size", flat=True)) == [2, 3]


def test_a_read_of_nothing_differs_from_no_read() -> None:
    reveal(manifest=[])
    assert AuditEvent.objects.get(stream=STREAM).manifest is not None


def test_a_receipt_covers_only_what_it_was_made_for() -> None:
    version = uuid4()
    receipt = reveal(covers=frozenset({version.bytes}))
    assert receipt.covers(version)
    assert not receipt.covers(uuid4())


def test_a_joined_receipt_is_not_committed() -> None:
    with transaction.atomic():
        assert not reveal().committed


def test_nobody_else_makes_a_receipt() -> None:
    with pytest.raises(TypeError):
        Receipt(object(), "", "", 1, frozenset(), committed=True)
    held = [
        path.name
        for top in ("core", "keeper_project", "*_app")
        for path in ROOT.glob(f"{top}/**/*.py")
        if "tests" not in path.parts and re.search(r"\bMAKER\b", path.read_text())
    ]
    assert sorted(held) == ["drafts.py", "recorder.py"]


def test_a_receipt_cannot_be_changed() -> None:
    receipt = reveal()
    with pytest.raises(AttributeError):
        receipt.committed = True  # type: ignore[misc]


def test_a_failing_insert_raises() -> None:
    write()
    # The place that the next event would take is taken.
    sql("UPDATE audit_app_streamhead SET sequence = 0 WHERE stream = %s", STREAM)
    with pytest.raises(DatabaseError), transaction.atomic():
        reveal()


def test_no_key_means_no_record(settings: Settings) -> None:
    write()
    settings.KEEPER_KEYRING = "audit_app.tests.keyring.LockedKeyring"
    forget_keyring()
    with pytest.raises(KeyringUnavailable), transaction.atomic():
        reveal()
    assert head_sequence() == 1


def test_the_orm_changes_and_deletes_no_event() -> None:
    write()
    event = AuditEvent.objects.get(stream=STREAM)
    for act in (event.save, event.delete, AuditEvent.objects.all().delete):
        with pytest.raises(Immutable):
            act()
    with pytest.raises(Immutable):
        AuditEvent.objects.update(actor_name="bob")
    with pytest.raises(Immutable):
        AuditEvent.objects.bulk_update([event], ["actor_name"])


def test_the_deployment_keeps_its_uuid() -> None:
    assert deployment_uuid() == deployment_uuid()


@pytest.mark.django_db(transaction=True)
def test_a_committed_record_is_durable_when_it_returns() -> None:
    receipt = commit_record(actor=ALICE, action=Action.SECRET_REVEAL, stream=STREAM, object=SECRET)
    assert receipt.committed
    assert not connection.in_atomic_block
    assert AuditEvent.objects.filter(uuid=receipt.event_uuid).exists()


@pytest.mark.django_db(transaction=True)
def test_a_record_of_its_own_is_committed() -> None:
    assert reveal().committed


@pytest.mark.django_db(transaction=True)
def test_commit_record_refuses_to_join_a_transaction() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError):
        commit_record(actor=ALICE, action=Action.SECRET_REVEAL, stream=STREAM, object=SECRET)


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_change_takes_its_event_along() -> None:
    write()
    with transaction.atomic():
        reveal()
        transaction.set_rollback(True)
    assert head_sequence() == 1
    assert AuditEvent.objects.filter(stream=STREAM).count() == 1
