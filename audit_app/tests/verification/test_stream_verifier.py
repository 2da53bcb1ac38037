import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from audit_app.checkpoints.anchors import is_resumed, resumptions
from audit_app.crypto.checkpoint_statement import Head
from audit_app.crypto.hash_chain import EventFields, Link, canonical_bytes, event_hash, genesis
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.integrity.check_registry import Problem
from audit_app.models import AuditEvent, ReadManifestItem, StreamHead, deployment_uuid
from audit_app.recording import event_store
from audit_app.recording.drafts import Receipt
from audit_app.tests.trail import STREAM, entries, head_sequence, sql, write
from audit_app.verification.prune_records import newest_cut, newest_prune_records
from audit_app.verification.stream_verifier import _surplus, verify
from audit_app.verification.stream_walker import VerificationStats, has_valid_mac

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


@pytest.fixture(autouse=True)
def trail() -> None:
    write(4, details={"n": 1})
    write(1, manifest=entries(3))
    write(2, stream="environment:b")


def the_problem() -> Problem:
    (problem,) = verify()
    return problem


def test_a_sound_trail_has_no_problem() -> None:
    tally = VerificationStats()
    assert list(verify(tally=tally)) == []
    # Two streams, and the system stream which says that they were opened.
    assert (tally.streams, tally.events, tally.manifests) == (3, 9, 1)


def test_an_empty_trail_has_no_problem() -> None:
    for table in ("audit_app_auditevent", "audit_app_streamhead"):
        sql(f"DELETE FROM {table}")
    assert list(verify()) == []


EDITS: list[tuple[str, Any]] = [
    ("uuid", UUID(int=1).hex),
    ("at", "2020-01-01 00:00:00"),
    ("actor_kind", "token"),
    ("actor_uuid", UUID(int=2).hex),
    ("actor_name", "mallory"),
    ("action", "secret.view"),
    ("object_kind", "token"),
    ("object_uuid", UUID(int=3).hex),
    ("object_name", "app/other"),
    ("outcome", "denied"),
    ("address", "203.0.113.9"),
    ("request_id", "x"),
    ("details", '{"n":2}'),
    ("previous_hash", b"\0" * 32),
    ("hash", b"\0" * 32),
    ("mac", b"\0" * 48),
    ("mac", b""),
]


@pytest.mark.parametrize(("column", "value"), EDITS)
def test_an_edited_column_is_named(column: str, value: object) -> None:
    sql(f"UPDATE audit_app_auditevent SET {column} = %s WHERE stream = %s AND sequence = 2", value, STREAM)
    problem = the_problem()
    assert (problem.stream, problem.sequence) == (STREAM, 2)
    assert problem.kind in {"edited", "forged"}


def test_every_column_is_tried() -> None:
    columns = {field.column for field in AuditEvent._meta.concrete_fields}
    assert columns - {column for column, _ in EDITS} == {"id", "stream", "sequence", "manifest_id"}


def test_a_read_whose_manifest_is_taken_away_is_named() -> None:
    sql("UPDATE audit_app_auditevent SET manifest_id = NULL WHERE stream = %s AND sequence = 5", STREAM)
    assert (the_problem().stream, the_problem().sequence) == (STREAM, 5)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda item: sql("DELETE FROM audit_app_readmanifestitem WHERE id = %s", item.pk),
        lambda item: sql("UPDATE audit_app_readmanifestitem SET number = 9 WHERE id = %s", item.pk),
        lambda item: sql("UPDATE audit_app_readmanifestitem SET name = 'x' WHERE id = %s", item.pk),
        lambda item: sql("DELETE FROM audit_app_readmanifestitem"),
    ],
)
def test_an_edited_manifest_is_named(tamper: Callable[[ReadManifestItem], None]) -> None:
    tamper(ReadManifestItem.objects.all()[0])
    problem = the_problem()
    assert (problem.kind, problem.stream, problem.sequence) == ("edited", STREAM, 5)


def test_an_event_deleted_from_the_middle_is_missed() -> None:
    sql("DELETE FROM audit_app_auditevent WHERE stream = %s AND sequence IN (2, 3)", STREAM)
    problem = the_problem()
    assert (problem.kind, problem.sequence, problem.message) == ("missing", 2, "events 2 to 3 are missing")


def test_a_deleted_event_whose_gap_is_closed_is_missed() -> None:
    sql("DELETE FROM audit_app_auditevent WHERE stream = %s AND sequence = 2", STREAM)
    for sequence in (3, 4, 5):
        move(sequence, sequence - 1)
    sql("UPDATE audit_app_streamhead SET sequence = 4 WHERE stream = %s", STREAM)
    assert (the_problem().kind, the_problem().sequence) == ("reordered", 2)


def test_a_cut_tail_is_missed() -> None:
    sql("DELETE FROM audit_app_auditevent WHERE stream = %s AND sequence > 3", STREAM)
    assert (the_problem().kind, the_problem().sequence) == ("truncated", 4)


def test_a_cut_stream_is_missed() -> None:
    sql("DELETE FROM audit_app_auditevent WHERE stream = %s", STREAM)
    assert (the_problem().kind, the_problem().sequence) == ("truncated", 1)


def test_reordered_events_are_named() -> None:
    move(2, 99)
    move(3, 2)
    move(99, 3)
    assert (the_problem().kind, the_problem().sequence) == ("reordered", 2)


def test_an_event_whose_place_in_lists_was_changed_is_named() -> None:
    """No MAC covers the id of a row, by which pages and searches are ordered."""
    sql("UPDATE audit_app_auditevent SET id = -1 WHERE stream = %s AND sequence = 4", STREAM)
    assert (the_problem().kind, the_problem().sequence) == ("reordered", 4)


def test_an_inserted_event_is_named() -> None:
    for sequence in (5, 4, 3):
        move(sequence, sequence + 1)
    copy(2, 3)
    sql("UPDATE audit_app_streamhead SET sequence = 6 WHERE stream = %s", STREAM)
    assert (the_problem().stream, the_problem().sequence) == (STREAM, 3)


def test_an_event_behind_the_head_is_named() -> None:
    copy(5, 6)
    assert (the_problem().kind, the_problem().sequence) == ("inserted", 6)


def test_an_event_before_the_first_is_named() -> None:
    copy(5, 0)
    assert (the_problem().kind, the_problem().sequence) == ("inserted", 0)


def test_public_hashes_recomputed_without_the_key_are_named() -> None:
    """Rewrite an event and all that follows, as anybody could who knows how the chain is made."""
    sql("UPDATE audit_app_auditevent SET actor_name = 'mallory' WHERE stream = %s AND sequence = 3", STREAM)
    previous = bytes(AuditEvent.objects.get(stream=STREAM, sequence=2).hash)
    for event in AuditEvent.objects.filter(stream=STREAM, sequence__gt=2).order_by("sequence"):
        (stored,) = event_store.links(STREAM, after=event.sequence - 1, until=event.sequence, limit=1)
        link = event_hash(previous, canonical_bytes(stored.fields))
        sql(
            "UPDATE audit_app_auditevent SET previous_hash = %s, hash = %s WHERE id = %s",
            previous,
            link,
            event.pk,
        )
        previous = link
    sql("UPDATE audit_app_streamhead SET hash = %s WHERE stream = %s", previous, STREAM)
    assert (the_problem().kind, the_problem().sequence) == ("forged", 3)


def test_a_head_that_is_not_the_last_event_is_named() -> None:
    sql("UPDATE audit_app_streamhead SET hash = %s WHERE stream = %s", b"\1" * 32, STREAM)
    assert (the_problem().kind, the_problem().stream) == ("forked", STREAM)


def test_a_head_that_was_set_back_is_named() -> None:
    previous = bytes(AuditEvent.objects.get(stream=STREAM, sequence=4).hash)
    sql("UPDATE audit_app_streamhead SET sequence = 4, hash = %s WHERE stream = %s", previous, STREAM)
    assert (the_problem().kind, the_problem().sequence) == ("inserted", 5)


def test_a_missing_head_is_named() -> None:
    sql("DELETE FROM audit_app_streamhead WHERE stream = %s", STREAM)
    assert (the_problem().kind, the_problem().stream) == ("missing", STREAM)


def test_a_dropped_stream_is_missed() -> None:
    sql("DELETE FROM audit_app_auditevent WHERE stream = %s", STREAM)
    sql("DELETE FROM audit_app_streamhead WHERE stream = %s", STREAM)
    assert (the_problem().kind, the_problem().stream) == ("missing", STREAM)


def test_a_dropped_system_stream_is_missed() -> None:
    sql("DELETE FROM audit_app_auditevent WHERE stream = %s", streams.SYSTEM)
    sql("DELETE FROM audit_app_streamhead WHERE stream = %s", streams.SYSTEM)
    assert ("missing", streams.SYSTEM) in [(problem.kind, problem.stream) for problem in verify()]


def test_a_stream_renamed_is_named() -> None:
    sql("UPDATE audit_app_auditevent SET stream = 'environment:c' WHERE stream = %s", STREAM)
    sql("UPDATE audit_app_streamhead SET stream = 'environment:c' WHERE stream = %s", STREAM)
    assert {problem.stream for problem in verify()} == {STREAM, "environment:c"}


def test_a_planted_stream_is_named_with_a_head_or_events_alone() -> None:
    planted = "environment:planted"
    head = StreamHead.objects.create(stream=planted, sequence=0, hash=genesis(deployment_uuid(), planted))
    assert (the_problem().kind, the_problem().stream) == ("inserted", planted)
    head.delete()
    sql("UPDATE audit_app_auditevent SET stream = %s WHERE stream = 'environment:b'", planted)
    assert planted in {problem.stream for problem in verify()}


def test_a_stream_that_a_checkpoint_alone_knows_is_missed() -> None:
    (problem,) = verify(known={"environment:gone": [Head(3, bytes(32))]})
    assert (problem.kind, problem.stream) == ("missing", "environment:gone")


def test_what_a_checkpoint_names_is_held_against_the_events() -> None:
    third, last = (AuditEvent.objects.get(stream=STREAM, sequence=number) for number in (3, 5))
    assert list(verify(STREAM, known={STREAM: [Head(3, bytes(third.hash)), Head(5, bytes(last.hash))]})) == []
    for named, kind, sequence in ((3, "forked", 3), (5, "forked", 5), (6, "truncated", 6)):
        (problem,) = verify(STREAM, known={STREAM: [Head(named, bytes(32))]})
        assert (problem.kind, problem.sequence) == (kind, sequence)


def test_an_event_that_sql_made_a_cut_is_none() -> None:
    said = {
        "after": 0, "through": 4, "hash": "00" * 32, "kept": 0, "digest": "", "removed": 4, "checkpoint": 1,
        "bundle": "b", "sha256": "", "operator": "",
    }  # fmt: skip
    sql(
        "UPDATE audit_app_auditevent SET action = %s, details = %s WHERE stream = %s AND sequence = 5",
        str(Action.TRAIL_PRUNE), json.dumps(said), STREAM,
    )  # fmt: skip
    assert newest_cut(STREAM) is None
    assert newest_prune_records() == {}


def test_an_event_that_sql_made_a_resumption_is_none() -> None:
    said = json.dumps({"digest": "00" * 32, "anchor": 1, "reason": "x"})
    sql(
        "UPDATE audit_app_auditevent SET action = %s, details = %s WHERE stream = %s AND sequence = 1",
        str(Action.TRAIL_RESUME), said, streams.SYSTEM,
    )  # fmt: skip
    assert list(resumptions()) == []
    assert not is_resumed(bytes(32))


def test_only_the_asked_stream_is_verified() -> None:
    sql("DELETE FROM audit_app_auditevent WHERE stream = %s AND sequence = 2", STREAM)
    assert list(verify("environment:b")) == []
    assert [problem.kind for problem in verify(STREAM)] == ["missing"]


def test_a_trail_of_another_deployment_does_not_fit() -> None:
    from audit_app.models import forget_deployment

    sql("UPDATE audit_app_deployment SET uuid = %s", UUID(int=9).hex)
    forget_deployment()
    assert {problem.sequence for problem in verify()} == {1}


def test_streams_longer_than_one_query_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit_app.verification.stream_walker._ROWS_PER_QUERY", 2)
    assert list(verify()) == []
    sql("UPDATE audit_app_auditevent SET actor_name = 'x' WHERE stream = %s AND sequence = 5", STREAM)
    assert the_problem().sequence == 5


def test_events_appended_meanwhile_are_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = event_store.canonical_links
    appended: list[Receipt] = []

    def append_after_reading(stream: str, **bounds: int) -> object:
        batches = list(genuine(stream, **bounds))
        if stream == STREAM and not appended:
            appended.extend(write(2))
        return (batch for batch in batches)

    monkeypatch.setattr(event_store, "canonical_links", append_after_reading)
    assert list(verify()) == []
    assert appended


def move(old: int, new: int) -> None:
    sql("UPDATE audit_app_auditevent SET sequence = %s WHERE stream = %s AND sequence = %s", new, STREAM, old)


def copy(old: int, new: int) -> None:
    columns = [
        f.column for f in AuditEvent._meta.concrete_fields if f.column not in {"id", "uuid", "sequence"}
    ]
    names = ", ".join(map(str, columns))
    sql(
        f"INSERT INTO audit_app_auditevent (uuid, sequence, {names}) "
        f"SELECT %s, %s, {names} FROM audit_app_auditevent WHERE stream = %s AND sequence = %s",
        uuid4().hex,
        new,
        STREAM,
        old,
    )


def test_events_behind_the_head_that_was_read_are_no_damage_if_the_head_has_moved() -> None:
    tally = VerificationStats()
    assert list(_surplus(STREAM, head_sequence() - 1, tally)) == []
    assert list(_surplus(STREAM, head_sequence(), tally)) == []
    sql("UPDATE audit_app_streamhead SET sequence = 4 WHERE stream = %s", STREAM)
    (problem,) = _surplus(STREAM, 4, tally)
    assert (problem.kind, problem.sequence) == ("inserted", 5)


def test_an_event_whose_fields_differ_or_cannot_be_hashed_has_no_valid_mac() -> None:
    """SQLite lets an edit store what JSON cannot hold, such as bytes where text was."""
    (link,) = event_store.links(STREAM, after=1, until=2, limit=1)
    assert has_valid_mac(link)
    fields: dict[str, Any] = link.fields._asdict()
    for name in fields:
        for value in ("other", b"bytes", "\ud800", 2**64):
            edited = link._replace(fields=EventFields(**fields | {name: value}))
            assert not has_valid_mac(edited), (name, value)
    parts: dict[str, Any] = link._asdict()
    for name in ("previous_hash", "hash", "mac"):
        assert not has_valid_mac(Link(**parts | {name: b"\0" * 32})), name
