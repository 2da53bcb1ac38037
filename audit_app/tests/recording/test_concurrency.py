from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from audit_app.errors import StreamForked
from audit_app.events.actions import Action
from audit_app.integrity.check_registry import Problem
from audit_app.models import AuditEvent, StreamHead
from audit_app.recording import event_store
from audit_app.recording.drafts import AuditObject, EventDraft, ManifestEntry, Receipt
from audit_app.recording.recorder import commit_record, commit_records
from audit_app.tests.trail import ALICE, STREAM, entries, head_sequence
from audit_app.verification.stream_verifier import verify
from core.db.statements import rows_of_each

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]

WRITERS, EACH = 4, 15
READ = entries(3)


def write_some(manifest: Sequence[ManifestEntry] | None) -> list[tuple[Receipt, str]]:
    """Record, and pair each receipt with the name that its event was given."""
    try:
        names = [uuid4().hex for _ in range(EACH)]
        return [
            (
                commit_record(
                    actor=ALICE,
                    action=Action.SECRET_EXPORT,
                    stream=STREAM,
                    object=AuditObject("environment", UUID(int=7), name),
                    manifest=manifest,
                ),
                name,
            )
            for name in names
        ]
    finally:
        connection.close()


def damage_and_openings(_reader: int) -> tuple[list[Problem], int, int]:
    try:
        opened = AuditEvent.objects.filter(action=Action.STREAM_OPEN, object_name=STREAM).count()
        return list(verify()), opened, head_sequence()
    finally:
        connection.close()


def names_of(sequences: Sequence[int]) -> list[str]:
    try:
        rows = AuditEvent.objects.filter(stream=STREAM, sequence__in=sequences)
        return list(rows.order_by("sequence").values_list("object_name", flat=True))
    finally:
        connection.close()


@pytest.mark.parametrize("manifest", [READ, None], ids=["of many", "of one"])
def test_concurrent_writers_do_not_fork_the_chain(
    transactional_db: None, manifest: Sequence[ManifestEntry] | None
) -> None:
    """They also open the stream and make the manifest at once, and each gets the receipt of its own event."""
    with ThreadPoolExecutor(WRITERS) as pool:
        written = [pair for batch in pool.map(write_some, [manifest] * WRITERS) for pair in batch]
        ((problems, opened, head),) = pool.map(damage_and_openings, [0])
        written.sort(key=lambda pair: pair[0].sequence)
        (names,) = pool.map(names_of, [[receipt.sequence for receipt, _ in written]])
    assert [receipt.sequence for receipt, _ in written] == list(range(1, WRITERS * EACH + 1))
    assert names == [name for _, name in written]
    assert (problems, opened, head) == ([], 1, WRITERS * EACH)


def seen_heads() -> dict[str, event_store.Head]:
    return event_store.heads_of(*rows_of_each([event_store.heads_to_see([STREAM])]))


def write_to_seen_heads(_writer: int) -> list[Receipt]:
    """Record at heads that another writer may move before that."""
    try:
        return [commit_records([EventDraft(**EVENT)], seen=seen_heads())[0] for _ in range(EACH)]
    finally:
        connection.close()


def test_writers_who_have_seen_the_head_do_not_fork_the_chain(transactional_db: None) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        seen = pool.map(write_to_seen_heads, range(WRITERS // 2))
        locked = pool.map(write_some, [None] * (WRITERS // 2))
        receipts = [receipt for batch in seen for receipt in batch]
        receipts += [receipt for batch in locked for receipt, _ in batch]
        ((problems, opened, head),) = pool.map(damage_and_openings, [0])
    assert sorted(receipt.sequence for receipt in receipts) == [*range(1, WRITERS * EACH + 1)]
    assert (problems, opened, head) == ([], 1, WRITERS * EACH)


EVENT: dict[str, Any] = {
    "actor": ALICE,
    "action": Action.SECRET_REVEAL,
    "stream": STREAM,
    "object": AuditObject("secret", UUID(int=7), "app/1"),
}


def record_once() -> Receipt:
    return commit_record(**EVENT)


def open_stream() -> None:
    """Record twice: the first event of a stream opens it, and is committed by itself."""
    record_once()
    record_once()


def ways_of(act: Callable[[], object]) -> int:
    """Return how often an act goes to the database."""
    with CaptureQueriesContext(connection) as captured:
        act()
    return len(captured)


def test_a_committed_record_takes_five_statements_of_which_a_server_gets_two_at_once() -> None:
    open_stream()
    # Begin; lock the head; store the event and move the head; commit.
    assert ways_of(record_once) == (4 if connection.vendor == "mysql" else 5)
    assert head_sequence() == 3
    assert list(verify()) == []


def test_events_of_many_reads_are_committed_together() -> None:
    open_stream()
    drafts = [EventDraft(**EVENT)] * 50
    assert ways_of(lambda: commit_records(drafts)) == (4 if connection.vendor == "mysql" else 5)
    assert head_sequence() == 52
    assert list(verify()) == []


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that grows by how each message to MariaDB begins and ends; on SQLite it stays empty."""
    told: list[bytes] = []
    if connection.vendor != "mysql":
        return told
    from core.db.mariadb.waiting import WatchedConnection as Connection

    query, commit, rollback = Connection.query, Connection.commit, Connection.rollback

    def spy(self: Connection, statement: bytes) -> None:
        text = bytes(statement)
        told.append(b" ".join([*text.split()[:3], b"...", text.split()[-1]]))
        query(self, statement)

    def spy_of_commit(self: Connection) -> None:
        told.append(b"COMMIT")
        commit(self)

    def spy_of_rollback(self: Connection) -> None:
        told.append(b"ROLLBACK")
        rollback(self)

    connection.ensure_connection()
    monkeypatch.setattr(Connection, "query", spy)
    monkeypatch.setattr(Connection, "commit", spy_of_commit)
    monkeypatch.setattr(Connection, "rollback", spy_of_rollback)
    return told


def test_an_event_is_committed_along_with_what_stores_it(sent: list[bytes]) -> None:
    open_stream()
    sent.clear()
    record_once()
    if connection.vendor == "mysql":
        assert sent == [
            b"START TRANSACTION; SELECT ... UPDATE",
            b"UPDATE audit_app_streamhead SET ... COMMIT",
        ]
    # What is left of one transaction is not for the next.
    with transaction.atomic():
        StreamHead.objects.filter(stream=STREAM).update(sequence=9)
    connection.close()
    assert head_sequence() == 9


def test_a_head_that_was_seen_is_not_locked(sent: list[bytes]) -> None:
    open_stream()
    seen = seen_heads()
    sent.clear()
    assert commit_records([EventDraft(**EVENT)] * 2, seen=seen)[1].sequence == 4
    if connection.vendor == "mysql":
        assert sent == [b"START TRANSACTION; UPDATE ... COMMIT"]
    connection.close()
    assert head_sequence() == 4
    assert list(verify()) == []


@pytest.mark.parametrize("moved", ["by an event", "by its hash"])
def test_a_head_that_has_moved_since_it_was_seen_is_locked(sent: list[bytes], moved: str) -> None:
    open_stream()
    seen = seen_heads()
    if moved == "by an event":
        record_once()
    else:
        StreamHead.objects.filter(stream=STREAM).update(hash=b"x" * 32)
    at, stood = head_sequence(), StreamHead.objects.get(stream=STREAM).hash
    sent.clear()
    assert commit_records([EventDraft(**EVENT)], seen=seen)[0].sequence == at + 1
    if connection.vendor == "mysql":
        assert sent == [
            b"START TRANSACTION; UPDATE ... COMMIT",
            b"ROLLBACK",
            b"START TRANSACTION; SELECT ... UPDATE",
            b"UPDATE audit_app_streamhead SET ... COMMIT",
        ]
    event = AuditEvent.objects.get(stream=STREAM, sequence=at + 1)
    assert bytes(event.previous_hash) == bytes(stood)
    assert head_sequence() == AuditEvent.objects.filter(stream=STREAM).count() == at + 1


def test_a_head_of_another_hash_is_not_gone_on_from() -> None:
    open_stream()
    StreamHead.objects.filter(stream=STREAM).update(hash=b"x" * 32)
    assert record_once().sequence == 3
    assert AuditEvent.objects.get(stream=STREAM, sequence=3).previous_hash == b"x" * 32


def test_what_fails_behind_the_event_leaves_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    open_stream()
    statements = event_store._statements(connection.vendor)
    spoilt = statements._replace(
        move_head=statements.move_head.replace("SET sequence", "SET nothing"),
        move_or_fail=statements.move_or_fail.replace("SET sequence", "SET nothing"),
    )
    with monkeypatch.context() as patched:
        patched.setattr(event_store, "_statements", lambda _: spoilt)
        with pytest.raises(DatabaseError):
            record_once()
    assert head_sequence() == AuditEvent.objects.filter(stream=STREAM).count() == 2
    assert record_once().sequence == 3


@pytest.mark.parametrize("number", [1, 3])
def test_a_head_that_moved_while_it_was_locked_leaves_no_event(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    record_once()
    append = event_store.append

    def elsewhere(
        entries: Sequence[event_store.Entry], moves: Sequence[event_store.Move], *, is_last: bool
    ) -> bool:
        moved = [move._replace(since=(move.since[0] + 5, b"")) for move in moves]
        return append(entries, moved, is_last=is_last)

    monkeypatch.setattr(event_store, "append", elsewhere)
    # On MariaDB another node of a cluster may have moved it, and the work is done again.
    with pytest.raises(
        OperationalError if connection.vendor == "mysql" else StreamForked, match="head of a stream"
    ):
        commit_records([EventDraft(**EVENT)] * number)
    assert head_sequence() == AuditEvent.objects.filter(stream=STREAM).count() == 1
