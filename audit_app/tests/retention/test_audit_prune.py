"""Retention takes out what passed, seals it before, and leaves a trail that verifies and says what is gone."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from audit_app import tasks
from audit_app.checkpoints.inspection import since_checkpoint, whole_log
from audit_app.checkpoints.schedule import anchor_log
from audit_app.checks import retention as check_retention
from audit_app.crypto.checkpoint_statement import Head
from audit_app.errors import BadBundle, NothingToPrune, PruneRefused
from audit_app.events import actors
from audit_app.events.actions import Action, Outcome
from audit_app.events.streams import SYSTEM
from audit_app.integrity.row_state import names_rows
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent, Checkpoint, SearchEntry, SinkState
from audit_app.queries import search_index
from audit_app.recording import event_store
from audit_app.retention import prune as retention_prune
from audit_app.retention import schedule as retention_schedule
from audit_app.retention.bundles import bundle_until
from audit_app.retention.prune import Pruned, prune
from audit_app.retention.rules import OldEvent, is_passing, known_reads
from audit_app.sinks.delivery import begin_events
from audit_app.sinks.registry import event_sinks
from audit_app.tests.crypto.test_checkpoint_statement import set_back
from audit_app.tests.events.test_audit_export import verified
from audit_app.tests.trail import STREAM, entries, sql, write
from audit_app.verification.prune_records import newest_cut, retained_problems
from audit_app.verification.stream_verifier import verify
from audit_app.verification.stream_walker import VerificationStats

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


@pytest.fixture(autouse=True)
def archive(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a trail of which most is older than the minimum, and sign it; return the folder of bundles."""
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path / 'sink'}"]
    settings.KEEPER_AUDIT_ARCHIVE_DIR = str(tmp_path / "archive")
    settings.KEEPER_AUDIT_RETENTION_DAYS = 0
    real = timezone.now
    monkeypatch.setattr("django.utils.timezone.now", lambda: real() - timedelta(days=200))
    write(4, details={"number": 1})  # 1-4: the last of these reads is kept
    write(1, action=Action.SECRET_UPDATE, details={"number": 2, "version": "v"})  # 5
    for _ in range(2):
        write(1, manifest=entries(3))  # 6-7: two lists of what was read
    write(2, action=Action.SIGN_IN)  # 8-9
    write(1, action=Action.MEMBER_GRANT, outcome=Outcome.DENIED)  # 10
    write(2, stream="environment:b")
    anchor_log(at_once=True)
    monkeypatch.setattr("django.utils.timezone.now", real)
    write(2, details={"number": 1})
    anchor_log(at_once=True)
    return tmp_path / "archive"


def pruned(bundle: Path, days: int = 100) -> Pruned:
    return prune(
        actor=actors.system(), before=timezone.now() - timedelta(days=days), bundle=bundle, operator="a test"
    )


def sequences(stream: str = STREAM) -> list[int]:
    rows = AuditEvent.objects.filter(stream=stream).order_by("sequence")
    return list(rows.values_list("sequence", flat=True))


def problems() -> list[str]:
    return [f"{problem.kind} {problem.object}" for problem in whole_log()]


def offline(bundle: Path, tmp_path: Path) -> tuple[int, list[str]]:
    (sink,) = (tmp_path / "sink").glob("*.jsonl")
    (key,) = {key.hex() for key in keyring().public_keys().values()} & {
        json.loads(row.statement)["public_key"] for row in Checkpoint.objects.all()
    }
    return verified(bundle, "--public-key", key, "--checkpoint", str(sink))


def test_a_bundle_is_on_the_disk_before_any_event_goes(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = AuditEvent.objects.filter(stream=STREAM).count
    before, synced = count(), list[tuple[str, int]]()
    for name in ("os.fsync", "sync_folder"):
        monkeypatch.setattr(
            f"audit_app.retention.prune.{name}", lambda _, name=name: synced.append((name, count()))
        )
    pruned(archive / "b")
    assert synced == [("os.fsync", before), ("sync_folder", before)]
    assert count() < before
    # It names who read what: nobody else on the host reads it.
    assert [each.stat().st_mode & 0o777 for each in (archive, archive / "b")] == [0o700, 0o600]


def test_what_passed_goes_and_what_made_things_stays(archive: Path) -> None:
    search_index.fill()
    done = pruned(archive / "b")
    search_index.fill()
    assert set(SearchEntry.objects.values_list("event_id", flat=True)) == set(
        AuditEvent.objects.values_list("id", flat=True)
    )
    # The newest of equal reads, alone and of many, the change, what is newer, and the record of the cut.
    assert sequences() == [4, 5, 6, 7, 11, 12, 13]
    assert done.removed == (3 + 3) + 1
    assert problems() == []
    assert list(since_checkpoint()) == []
    cut = AuditEvent.objects.get(action=Action.TRAIL_PRUNE, stream=STREAM)
    said = json.loads(cut.details)
    assert (said["after"], said["through"], said["removed"], said["kept"]) == (0, 10, 6, 4)
    assert said["bundle"] == "b"
    assert said["sha256"] == done.sha256
    # The bundle has all that was read, and by whom: that it was written is an event of its own.
    taken = AuditEvent.objects.get(action=Action.TRAIL_EXPORT, object_uuid=cut.object_uuid)
    assert (taken.stream, taken.object_name) == (SYSTEM, "b")


def test_verification_tells_of_it(archive: Path) -> None:
    pruned(archive / "b")
    out = io.StringIO()
    call_command("verify_audit", stdout=out)
    assert f"discontinuity: event {STREAM} #13: 6 of events 1 to 10 were removed" in out.getvalue()
    assert "by system (a test), 4 kept; all are in b (SHA-256" in out.getvalue()
    assert "2 discontinuities, 7 cut, 0 problems" in out.getvalue()
    out = io.StringIO()
    call_command("verify_audit", "--format", "json", stdout=out)
    told = json.loads(out.getvalue())
    assert [discontinuity["stream"] for discontinuity in told["discontinuities"]] == [STREAM, "environment:b"]
    assert {discontinuity["kind"] for discontinuity in told["discontinuities"]} == {"cut"}
    assert told["counts"]["discontinuities"] == 2


def test_the_bundle_and_what_is_left_verify_without_keeper(archive: Path, tmp_path: Path) -> None:
    pruned(archive / "b")
    anchor_log(at_once=True)
    first = Checkpoint.objects.order_by("number")[0]
    held = tmp_path / "held.jsonl"
    held.write_text(json.dumps({"checkpoint": first.statement, "signature": bytes(first.signature).hex()}))
    code, lines = verified(archive / "b", "--public-key", json.loads(first.statement)["public_key"],
                           "--checkpoint", str(held))  # fmt: skip
    assert (code, lines[0]) == (0, "1 checkpoints, 14 events, 2 manifests, 0 problems")
    call_command("audit_export", str(tmp_path / "now"), stdout=io.StringIO())
    code, lines = offline(tmp_path / "now", tmp_path)
    assert code == 0, lines
    assert any("Retention took 6 of the first 10 events" in line for line in lines)


def test_a_bundle_that_was_changed_or_moved_is_told(archive: Path) -> None:
    done = pruned(archive / "b")

    def told() -> str:
        out = io.StringIO()
        call_command("audit_prune", "--bundles", stdout=out)
        return out.getvalue()

    assert told().startswith("unchanged: b: 7 events taken out, ")
    assert done.sha256 in told()
    (archive / "b").write_bytes((archive / "b").read_bytes().replace(b"alice", b"mallo"))
    with pytest.raises(SystemExit):
        told()
    (archive / "b").unlink()
    assert told().startswith("elsewhere: b: ")


def test_a_second_cut_goes_on_from_the_first(archive: Path, tmp_path: Path) -> None:
    pruned(archive / "b")
    write(1)
    anchor_log(at_once=True)
    with at_day(150):
        pruned(archive / "c")
        anchor_log(at_once=True)
        # Those that were kept are not looked at again; 11 and 12 read what 4 did.
        assert [each for each in sequences() if each <= 14] == [4, 5, 6, 7, 12, 13, 14]
        assert problems() == []
        call_command("audit_export", str(tmp_path / "now"), stdout=io.StringIO())
    assert offline(tmp_path / "now", tmp_path)[0] == 0


def test_nothing_more_goes_once_something_that_a_cut_kept_is_gone(archive: Path) -> None:
    pruned(archive / "b")
    write(1)
    anchor_log(at_once=True)
    sql("DELETE FROM audit_app_auditevent WHERE stream = %s AND sequence = 4", STREAM)
    with at_day(150), pytest.raises(PruneRefused, match="missing"):
        pruned(archive / "c")
    assert not (archive / "c").exists()


def test_nothing_goes_while_a_sink_holds_an_older_checkpoint_alone(archive: Path) -> None:
    (sink,) = (archive.parent / "sink").glob("*.jsonl")
    sink.write_bytes(sink.read_bytes().splitlines(keepends=True)[0])
    with at_day(150), pytest.raises(PruneRefused, match="does not hold"):
        pruned(archive / "b")
    assert not archive.exists()


def test_a_plan_names_damage_before_anything_is_sealed(archive: Path, settings: Settings) -> None:
    damaged(archive.parent, settings)
    with pytest.raises(PruneRefused, match=f"event {STREAM} #2"):
        retention_prune.plan(before=timezone.now() - timedelta(days=100))


def test_of_two_that_cut_at_once_one_is_told(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one cuts after this one has planned: what is gone then is no damage."""
    sealed = retention_prune._sealed

    def meanwhile(*given: Any) -> str:
        monkeypatch.setattr(retention_prune, "_sealed", sealed)
        pruned(archive / "first")
        return sealed(*given)

    monkeypatch.setattr(retention_prune, "_sealed", meanwhile)
    with pytest.raises(PruneRefused, match="at the same time"):
        pruned(archive / "second")
    assert AuditEvent.objects.filter(action=Action.TRAIL_PRUNE, stream=STREAM).count() == 1
    assert problems() == []


def test_a_dry_run_is_the_default_and_changes_nothing(archive: Path) -> None:
    before, out = sequences(), io.StringIO()
    day = (timezone.now() - timedelta(days=100)).strftime("%Y-%m-%d")
    call_command("audit_prune", "--before", day, stdout=out)
    assert f"{STREAM}: 6 of events 1 to 10 would go, 4 stay" in out.getvalue()
    assert (sequences(), archive.exists()) == (before, False)
    call_command("audit_prune", "--before", day, "--apply", stdout=out, stderr=io.StringIO())
    assert "7 events are taken out" in out.getvalue()
    assert len(list(archive.iterdir())) == 1
    call_command("audit_prune", "--before", day, stdout=out)
    assert "Nothing was changed: no event" in out.getvalue()


def sink_down(tmp_path: Path, settings: Settings) -> None:
    (file,) = (tmp_path / "sink").glob("*.jsonl")
    file.unlink()


def sink_lags(tmp_path: Path, settings: Settings) -> None:
    settings.KEEPER_EVENT_SINKS = [f"file:{tmp_path / 'events'}"]
    state = SinkState.objects.create(name=event_sinks()[0].name)
    begin_events(state)
    state.cursors.update(sequence=1)


def sink_lacks_a_stream(tmp_path: Path, settings: Settings) -> None:
    """It has begun, and a stream that was opened since then was not given to it yet."""
    settings.KEEPER_EVENT_SINKS = [f"file:{tmp_path / 'events'}"]
    state = SinkState.objects.create(name=event_sinks()[0].name)
    begin_events(state)
    state.cursors.filter(stream=STREAM).delete()


def no_sink(tmp_path: Path, settings: Settings) -> None:
    settings.KEEPER_AUDIT_SINKS = []


def one_of_two_sinks(tmp_path: Path, settings: Settings) -> None:
    """The other one was added later, and holds nothing of what would go."""
    (tmp_path / "second").mkdir()
    settings.KEEPER_AUDIT_SINKS = [*settings.KEEPER_AUDIT_SINKS, f"file:{tmp_path / 'second'}"]


def damaged(tmp_path: Path, settings: Settings) -> None:
    sql("UPDATE audit_app_auditevent SET actor_name = 'x' WHERE stream = %s AND sequence = 2", STREAM)


def bundle_there(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "b").write_text("another one")


def folder_in_the_way(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "archive").write_text("a file")


@pytest.mark.parametrize(
    "fault",
    [
        sink_down, sink_lags, sink_lacks_a_stream, no_sink, one_of_two_sinks, damaged, bundle_there,
        folder_in_the_way,
    ],
)  # fmt: skip
def test_nothing_goes_that_is_not_covered_sound_and_sealed(
    archive: Path, settings: Settings, fault: Callable[[Path, Settings], None]
) -> None:
    fault(archive.parent, settings)
    before = sequences()
    with pytest.raises((PruneRefused, BadBundle)):
        pruned(archive / "b")
    assert sequences() == before


def test_the_last_months_stay(archive: Path) -> None:
    with pytest.raises(PruneRefused, match="90 days"):
        pruned(archive / "b", days=80)
    with pytest.raises(NothingToPrune):
        pruned(archive / "b", days=300)
    with pytest.raises(CommandError, match="90 days"):
        call_command("audit_prune", "--before", timezone.now().strftime("%Y-%m-%d"))


@pytest.mark.parametrize("edit", ["text", "cut", "swap", "manifest"])
def test_a_bundle_that_is_not_what_was_recorded_takes_nothing_out(
    archive: Path, monkeypatch: pytest.MonkeyPatch, edit: str
) -> None:
    real = bundle_until

    def edited(checkpoint: Any) -> Iterator[bytes]:
        lines = list(real(checkpoint))
        first = next(at for at, line in enumerate(lines) if b'"kind":"event"' in line)
        listed = next(at for at, line in enumerate(lines) if b'"kind":"manifest"' in line)
        if edit == "text":
            lines[first] = lines[first].replace(b"alice", b"malic")
        elif edit == "cut":
            del lines[first + 3]
        elif edit == "swap":
            lines[first + 1], lines[first + 2] = lines[first + 2], lines[first + 1]
        else:
            lines[listed] = lines[listed].replace(b"app/1", b"app/9")
        return iter(lines)

    monkeypatch.setattr(retention_prune, "bundle_until", edited)
    before = sequences()
    with pytest.raises(BadBundle):
        pruned(archive / "b")
    assert (sequences(), list(archive.iterdir())) == (before, [])


def test_what_lies_where_a_bundle_is_drafted_is_not_followed(archive: Path) -> None:
    archive.mkdir(exist_ok=True)
    bundle, victim = archive / "b", archive / "victim"
    victim.write_text("kept", encoding="utf-8")
    (archive / ".b.partial").symlink_to(victim)
    pruned(bundle)
    assert (victim.read_text(encoding="utf-8"), bundle.is_symlink()) == ("kept", False)
    assert sorted(each.name for each in archive.iterdir()) == ["b", "victim"]


class Crash(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("point", ["require_whole", "record", "remove", "second step"])
def test_a_crash_anywhere_loses_nothing_and_is_taken_up(
    archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, point: str
) -> None:
    monkeypatch.setattr(retention_prune, "_EVENTS_PER_STEP", 4)
    place, name = (event_store, point) if point.startswith("remove") else (retention_prune, point)
    if point == "second step":
        place, name = retention_prune, "record"
    real, calls = getattr(place, name), []

    def crash(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if point == "second step" and len(calls) < 3:
            return real(*arguments, **named)
        raise Crash

    monkeypatch.setattr(place, name, crash)
    with pytest.raises(Crash):
        pruned(archive / "b")
    monkeypatch.setattr(place, name, real)
    assert problems() == []
    pruned(archive / "c")
    anchor_log(at_once=True)
    assert problems() == []
    assert sequences()[:4] == [4, 5, 6, 7]
    call_command("audit_export", str(tmp_path / "now"), stdout=io.StringIO())
    assert offline(tmp_path / "now", tmp_path)[0] == 0


TAMPERS: dict[str, tuple[str, str]] = {
    "a forged cut": (
        "UPDATE audit_app_auditevent SET details = REPLACE(details, '10', '12') WHERE action = 'trail.prune'",
        "missing",
    ),
    "no cut": ("DELETE FROM audit_app_auditevent WHERE action = 'trail.prune'", "missing"),
    "one that was kept is gone": ("DELETE FROM audit_app_auditevent WHERE sequence = 5", "missing"),
    "one that was kept is edited": (
        "UPDATE audit_app_auditevent SET actor_name = 'x' WHERE sequence = 5",
        "edited",
    ),
    "two that were kept are swapped": (
        "UPDATE audit_app_auditevent SET sequence = 9 WHERE sequence = 5",
        "edited",
    ),
    "more is gone": ("DELETE FROM audit_app_auditevent WHERE sequence = 11", "missing"),
}


@pytest.mark.parametrize("name", TAMPERS)
def test_who_tampers_with_a_cut_is_found(archive: Path, tmp_path: Path, name: str) -> None:
    pruned(archive / "b")
    anchor_log(at_once=True)
    statement, kind = TAMPERS[name]
    column = f"{statement} AND stream = %s"
    sql(column.replace("%s", f"'{STREAM}'"))
    found = [problem for problem in whole_log() if problem.stream == STREAM]
    assert [problem.kind for problem in found] == [kind], found
    call_command("audit_export", str(tmp_path / "now"), stdout=io.StringIO())
    assert offline(tmp_path / "now", tmp_path)[0] == 1


def test_a_cut_that_sql_makes_is_found(archive: Path) -> None:
    """Delete old events and write the record that a genuine cut would have, without the key."""
    sql("DELETE FROM audit_app_auditevent WHERE stream = %s AND sequence < 4", STREAM)
    assert [problem.kind for problem in whole_log()] == ["missing"]
    write(1, action=Action.TRAIL_PRUNE)  # Its details say nothing.
    sql(
        "UPDATE audit_app_auditevent SET details = %s WHERE action = 'trail.prune'",
        json.dumps({"after": 0, "through": 3, "hash": "00" * 32, "kept": 0, "digest": "", "removed": 3}),
    )
    assert next(problem.kind for problem in whole_log()) == "missing"


def test_an_event_that_was_cut_and_is_put_back_is_found(archive: Path) -> None:
    sql(
        "CREATE TEMPORARY TABLE was_here AS SELECT * FROM audit_app_auditevent WHERE sequence = 2 "
        f"AND stream = '{STREAM}'"
    )
    pruned(archive / "b")
    sql("INSERT INTO audit_app_auditevent SELECT * FROM was_here")
    assert {problem.kind for problem in whole_log()} == {"inserted"}
    # As many as the cut kept, each with its MAC, and not those.
    sql("DELETE FROM audit_app_auditevent WHERE sequence = 5 AND stream = %s", STREAM)
    assert {(problem.kind, problem.sequence) for problem in whole_log()} == {("inserted", 1)}


def test_a_cut_that_goes_on_from_another_history_than_was_signed_is_found(archive: Path) -> None:
    """The walk begins behind the place that the cut names: that place is compared by itself."""
    pruned(archive / "b")
    cut = newest_cut(STREAM)
    assert cut
    assert list(verify(STREAM, known={STREAM: [cut.head]})) == []
    (problem,) = verify(STREAM, known={STREAM: [Head(cut.through, b"another".ljust(32))]})
    assert (problem.kind, problem.sequence) == ("forked", cut.through)


def test_a_database_older_than_a_checkpoint_is_found_before_and_after_a_cut(archive: Path) -> None:
    restore = set_back()
    pruned(archive / "b")
    anchor_log(at_once=True)
    restore()
    assert "rewound" in {problem.kind for problem in whole_log()}


def test_a_signature_follows_a_cut(archive: Path) -> None:
    """Also where a stream was cut off as far as the newest checkpoint names it."""
    pruned(archive / "b")
    made = anchor_log(at_once=True)
    assert made
    write(3)
    assert anchor_log(at_once=True)
    assert problems() == []


def test_a_copy_of_the_installation_cuts_nothing_and_is_silent(
    archive: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEEPER_AUDIT_RETENTION_DAYS = 100
    for place in (retention_prune, retention_schedule):
        monkeypatch.setattr(place, "is_active", lambda: False)
    monkeypatch.setattr(retention_schedule, "audit_log_alerts", lambda: pytest.fail("it told somebody"))
    tasks.prune_trail()
    with pytest.raises(PruneRefused, match="not the active installation"):
        pruned(archive / "b")
    assert sequences()[:2] == [1, 2]


def test_the_schedule_is_off_has_a_minimum_and_tells_of_a_refusal(
    archive: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks.prune_trail()
    assert sequences()[:2] == [1, 2]
    settings.KEEPER_AUDIT_RETENTION_DAYS = 30
    assert [found.id for found in check_retention()] == ["audit_app.E006"]
    settings.KEEPER_AUDIT_RETENTION_DAYS = 100
    assert check_retention() == []
    told: list[str] = []

    class Alerts:
        def raised(self, *, kind: str, subject: str, lines: list[str]) -> None:
            told.append(lines[0])

        def over(self, *, kind: str, subject: str) -> None:
            told.append("over")

    monkeypatch.setattr(retention_schedule, "audit_log_alerts", Alerts)
    archive.write_text("in the way")
    tasks.prune_trail()
    archive.unlink()
    assert "cannot be written" in told[0]
    tasks.prune_trail()
    assert told[1:] == ["over"]
    assert sequences()[0] == 4
    assert retention_schedule.prune_if_due() is None


def test_what_names_rows_is_never_passing() -> None:
    assert names_rows('{"rows":{}}')
    event = OldEvent(1, 1, b"", "session.sign_in", "denied", "", "", '{"rows":{"x":"y"}}', None)
    assert not is_passing(event)


def test_each_person_who_read_one_list_of_values_is_known_by_their_own_event() -> None:
    reads = [
        OldEvent(number, number, b"", "secret.export", "allowed", who, "", "{}", 7)
        for number, who in enumerate(("alice", "bob", "alice"), 1)
    ]
    assert known_reads(reads) == {2, 3}


@contextmanager
def at_day(days: int) -> Iterator[None]:
    """Let the clock stand some days later than it is."""
    real = timezone.now
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("django.utils.timezone.now", lambda: real() + timedelta(days=days))
        yield


def test_a_stream_that_changed_since_it_was_verified_is_not_cut(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal = retention_prune._sealed

    def late(*given: Any) -> str:
        sealed = seal(*given)
        sql("DELETE FROM audit_app_auditevent WHERE stream = %s AND sequence = 8", STREAM)
        return sealed

    monkeypatch.setattr(retention_prune, "_sealed", late)
    before = sequences()
    with pytest.raises(PruneRefused, match="not what it was"):
        pruned(archive / "b")
    assert sequences() == [number for number in before if number != 8]
    assert not AuditEvent.objects.filter(action=Action.TRAIL_PRUNE).exists()


@pytest.mark.parametrize("by", [-1, 1])
def test_a_cut_that_removes_another_number_than_it_records_is_none(
    archive: Path, monkeypatch: pytest.MonkeyPatch, by: int
) -> None:
    remove = event_store.remove
    monkeypatch.setattr(event_store, "remove", lambda ids: remove(ids) + by)
    before = sequences()
    with pytest.raises(PruneRefused, match="while it was cut"):
        pruned(archive / "b")
    assert sequences() == before
    assert problems() == []


@pytest.mark.parametrize("wrong", ["forged", "of another history"])
def test_nothing_goes_while_a_sink_contradicts(archive: Path, tmp_path: Path, wrong: str) -> None:
    (file,) = (tmp_path / "sink").glob("*.jsonl")
    if wrong == "forged":
        last = file.read_bytes().splitlines(keepends=True)[-1]
        file.write_bytes(file.read_bytes() + last.replace(b'\\"number\\":2', b'\\"number\\":3'))
    else:
        sql("UPDATE audit_app_checkpoint SET digest = x'00' WHERE number = 2")
    before = sequences()
    with pytest.raises(PruneRefused, match=r"forged|forked"):
        pruned(archive / "b")
    assert sequences() == before


def test_of_several_cuts_each_begins_where_the_one_before_ended(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned(archive / "first")
    later = timezone.now() + timedelta(days=200)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    anchor_log(at_once=True)
    muchlater = later + timedelta(days=200)
    monkeypatch.setattr("django.utils.timezone.now", lambda: muchlater)
    anchor_log(at_once=True)
    pruned(archive / "second")
    first, second = AuditEvent.objects.filter(action=Action.TRAIL_PRUNE, stream=STREAM).order_by("sequence")
    assert list(retained_problems(STREAM, VerificationStats())) == []
    sql("DELETE FROM audit_app_auditevent WHERE id = %s", first.pk)
    (problem,) = retained_problems(STREAM, VerificationStats())
    assert (problem.kind, "record of a cut is missing" in problem.message) == ("missing", True)
    # Where the cut's own event is gone, what it kept is still known by the one behind it.
    assert second.sequence > first.sequence


def test_what_the_schedule_will_do_is_told_and_it_cuts_once_a_while(
    archive: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert retention_schedule.retention_status() is None
    settings.KEEPER_AUDIT_RETENTION_DAYS = 100
    status = retention_schedule.retention_status()
    assert status is not None
    assert (status.days, status.next_run, status.is_counted) == (100, None, True)
    waiting = status.waiting
    monkeypatch.setattr(retention_schedule, "_MOST_COUNTED", waiting - 1)
    counted = retention_schedule.retention_status()
    assert counted is not None
    assert (counted.waiting, counted.is_counted) == (waiting, False)
    with monkeypatch.context() as patched:
        patched.setattr(retention_schedule, "is_active", lambda: False)
        assert retention_schedule.prune_if_due() is None
        assert sequences()[0] == 1
    assert retention_schedule.prune_if_due() is not None
    later = timezone.now() + timedelta(days=200)
    cuts = AuditEvent.objects.filter(action=Action.TRAIL_PRUNE).count()
    # Shortly after a cut nothing is cut, whatever has grown old.
    monkeypatch.setattr(retention_schedule, "_BUNDLE_INTERVAL", timedelta(days=400))
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    anchor_log(at_once=True)
    assert retention_schedule.prune_if_due() is None
    assert AuditEvent.objects.filter(action=Action.TRAIL_PRUNE).count() == cuts


def test_programs_read_what_would_go_what_went_and_what_is_kept(archive: Path) -> None:
    def told(*options: str) -> Any:
        out = io.StringIO()
        call_command("audit_prune", *options, "--format", "json", stdout=out, stderr=io.StringIO())
        return json.loads(out.getvalue())

    day = (timezone.now() - timedelta(days=100)).strftime("%Y-%m-%d")
    planned = told("--before", day)
    (mine,) = (each for each in planned["streams"] if each["stream"] == STREAM)
    assert mine == {"stream": STREAM, "after": 0, "through": 10, "removed": 6, "kept": 4}
    assert (planned["applied"], planned["removed"]) == (False, 7)
    done = told("--before", day, "--apply")
    assert (done["applied"], done["removed"]) == (True, 7)
    assert told("--before", day)["reason"].startswith("no event")
    (listed,) = told("--bundles")
    assert (listed["state"], listed["removed"], listed["sha256"]) == ("unchanged", 7, done["sha256"])
