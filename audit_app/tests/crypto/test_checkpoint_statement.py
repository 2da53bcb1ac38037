import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from audit_app import tasks
from audit_app.checkpoints import signing
from audit_app.checkpoints.anchors import fetch_anchors
from audit_app.checkpoints.inspection import since_checkpoint, whole_log
from audit_app.checkpoints.schedule import anchor_log, problems
from audit_app.crypto.checkpoint_statement import SignedCheckpoint, Statement, succession_message, verifies
from audit_app.crypto.hash_chain import canonical_bytes, event_hash
from audit_app.errors import AnchorUnavailable, BadCheckpoint, NothingToResume, SigningRefused
from audit_app.events import actors, streams
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent, Checkpoint, SinkState, deployment_uuid
from audit_app.recording import event_store
from audit_app.sinks.delivery import deliver_checkpoints, deliver_events
from audit_app.sinks.registry import checkpoint_sinks, configured_event_sinks
from audit_app.tests.keyring import SIGNING_KEYS, ToyKeyring
from audit_app.tests.trail import STREAM, sql, take_away, write

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]


@pytest.fixture(autouse=True)
def anchors(settings: Settings, tmp_path: Path) -> Path:
    """Let checkpoints go to a folder, and return it."""
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path}"]
    settings.KEEPER_AUDIT_ALERTS = f"{__name__}.Alerts"
    Alerts.open.clear()
    write(3)
    return tmp_path


class Alerts:
    open: dict[str, str] = {}

    def raised(self, *, kind: str, subject: str, lines: list[str]) -> None:
        self.open[kind] = lines[0]

    def over(self, *, kind: str, subject: str) -> None:
        self.open.pop(kind, None)


def anchored(count: int = 0) -> Checkpoint:
    """Write some events, and sign them."""
    if count:
        write(count)
    made = anchor_log(at_once=True)
    assert made
    return made


def in_sink(folder: Path) -> list[SignedCheckpoint]:
    (file,) = folder.glob("checkpoints-*.jsonl")
    return [SignedCheckpoint.from_line(line) for line in file.read_bytes().splitlines()]


def pass_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on a little later than a checkpoint takes to reach the sinks."""
    real = timezone.now
    monkeypatch.setattr("django.utils.timezone.now", lambda: real() + timedelta(minutes=11))


def kinds() -> list[str]:
    return [problem.kind for problem in whole_log()]


def set_back() -> Callable[[], None]:
    """Remember the trail as it is; the result puts it back, as who restores yesterday's database does."""
    tables = ("audit_app_auditevent", "audit_app_streamhead", "audit_app_checkpoint")
    # Not dropped, which would commit on MariaDB: they end with the connection.
    was = f"was_{uuid4().hex}"
    for table in tables:
        sql(f"CREATE TEMPORARY TABLE {was}_{table} AS SELECT * FROM {table}")

    def restore() -> None:
        for table in tables:
            sql(f"DELETE FROM {table}")
            sql(f"INSERT INTO {table} SELECT * FROM {was}_{table}")

    return restore


def test_checkpoints_are_numbered_chained_signed_and_kept_outside(anchors: Path) -> None:
    first, second = anchored(), anchored(2)
    kept = in_sink(anchors)
    assert [each.number for each in kept] == [first.number, second.number] == [1, 2]
    assert kept[1].statement.previous == kept[0].digest
    assert all(each.is_signed_by(keyring().public_keys()[SIGNING_KEYS[0]]) for each in kept)
    assert kept[1].statement.heads[STREAM].sequence == 5
    assert kept[1].statement.heads.keys() == {STREAM, streams.SYSTEM}
    assert kinds() == []
    assert (anchors.glob("*.jsonl").__next__().stat().st_mode & 0o077) == 0


def test_a_checkpoint_that_was_changed_is_none(anchors: Path) -> None:
    anchored()
    (kept,) = in_sink(anchors)
    key = kept.statement.public_key
    for text in (kept.text.replace('"number":1', '"number":2'), kept.text.replace(":[3,", ":[4,")):
        assert text != kept.text
        assert not SignedCheckpoint.stored(text, kept.signature).is_signed_by(key)
    assert not SignedCheckpoint.stored(kept.text, bytes(64)).is_signed_by(key)
    for text in ("{}", "[]", "null", kept.text + " ", kept.text[:-1]):
        with pytest.raises(BadCheckpoint):
            Statement.parsed(text)


def test_where_nothing_happened_nothing_is_signed_again_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    anchored()
    assert anchor_log(at_once=True) is None
    later = timezone.now() + timedelta(minutes=61)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert anchored().number == 2


def test_two_schedules_make_one_checkpoint() -> None:
    tasks.make_checkpoint()
    write()
    tasks.make_checkpoint()
    assert Checkpoint.objects.count() == 1


def test_a_checkpoint_of_a_clock_ahead_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as ahead:
        pass_time(ahead)
        anchored()
    write(1)
    made = anchor_log()
    assert made is not None
    assert made.number == 2


def test_two_workers_at_the_very_same_time_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = signing._require_descent

    def overtaken(*arguments: object) -> None:
        genuine(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(signing, "_require_descent", genuine)
        anchored()

    monkeypatch.setattr(signing, "_require_descent", overtaken)
    assert anchor_log(at_once=True) is None
    assert Checkpoint.objects.count() == 1
    assert kinds() == []


def test_a_worker_that_ends_signs_what_it_leaves(anchors: Path) -> None:
    tasks.make_checkpoint()
    # The message that asks for it reaches no worker here.
    tasks.deliver_checkpoints()
    write()
    tasks.make_last_checkpoint()
    assert [each.number for each in in_sink(anchors)] == [1, 2]


def test_a_new_key_is_vouched_for_by_the_one_before(monkeypatch: pytest.MonkeyPatch, anchors: Path) -> None:
    anchored()
    monkeypatch.setattr(ToyKeyring, "signing_key", SIGNING_KEYS[1])
    anchored(1)
    anchored(1)
    old, new, last = in_sink(anchors)
    said = new.statement
    assert said.key_id == SIGNING_KEYS[1]
    assert said.succession is not None
    assert said.succession.by == SIGNING_KEYS[0]
    message = succession_message(deployment_uuid(), said.key_id, said.public_key)
    assert verifies(old.statement.public_key, message, said.succession.signature)
    assert last.statement.succession is None
    assert kinds() == []


# --- What is refused ---------------------------------------------------------------------------


def recompute_hashes() -> None:
    """Rewrite an event and all that follows, as anybody could who has no key."""
    sql("UPDATE audit_app_auditevent SET actor_name = 'mallory' WHERE stream = %s AND sequence = 6", STREAM)
    link = bytes(AuditEvent.objects.get(stream=STREAM, sequence=5).hash)
    for sequence in (6, 7):
        (stored,) = event_store.links(STREAM, after=sequence - 1, until=sequence, limit=1)
        before, link = link, event_hash(link, canonical_bytes(stored.fields))
        sql(
            "UPDATE audit_app_auditevent SET previous_hash = %s, hash = %s WHERE stream = %s AND sequence = %s",
            before, link, STREAM, sequence,
        )  # fmt: skip
    sql("UPDATE audit_app_streamhead SET hash = %s WHERE stream = %s", link, STREAM)


def cut(sequence: int) -> None:
    """Cut a stream's tail off, and set its head back so that the chain alone shows nothing."""
    link = bytes(AuditEvent.objects.get(stream=STREAM, sequence=sequence).hash)
    sql("DELETE FROM audit_app_auditevent WHERE stream = %s AND sequence > %s", STREAM, sequence)
    sql("UPDATE audit_app_streamhead SET sequence = %s, hash = %s WHERE stream = %s", sequence, link, STREAM)


def drop() -> None:
    for table in ("audit_app_auditevent", "audit_app_streamhead"):
        sql(f"DELETE FROM {table} WHERE stream = %s", STREAM)
    sql("DELETE FROM audit_app_auditevent WHERE stream = 'system'")
    sql("DELETE FROM audit_app_streamhead WHERE stream = 'system'")


def fork() -> None:
    """Cut the tail off and let Keeper itself write another one, as a replayed connection would."""
    cut(3)
    write(4, details={"another": "history"})


@pytest.mark.parametrize(
    ("tamper", "kind"),
    [
        (lambda: sql("UPDATE audit_app_auditevent SET outcome = 'denied' WHERE sequence = 6"), "edited"),
        (
            lambda: sql("DELETE FROM audit_app_auditevent WHERE stream = %s AND sequence = 6", STREAM),
            "missing",
        ),
        (lambda: cut(3), "truncated"),
        (lambda: cut(2), "truncated"),
        (recompute_hashes, "forged"),
        (drop, "missing"),
        (fork, "forked"),
        (lambda: sql("DELETE FROM audit_app_checkpoint"), "rewound"),
        (lambda: sql("DELETE FROM audit_app_checkpoint WHERE number = 2"), "rewound"),
        (lambda: sql("UPDATE audit_app_checkpoint SET signature = %s WHERE number = 2", bytes(64)), "edited"),
        (lambda: sql("UPDATE audit_app_checkpoint SET statement = '{}' WHERE number = 2"), "edited"),
    ],
)
def test_a_trail_that_is_not_what_was_signed_is_refused(tamper: Callable[[], None], kind: str) -> None:
    """Each leaves a trail that begins like the one that was signed; the sink says that it is another."""
    anchored()
    anchored(2)
    write(2)
    tamper()
    with pytest.raises(SigningRefused, match=kind):
        anchor_log(at_once=True)
    assert Checkpoint.objects.filter(number__gt=2).count() == 0
    assert kind in kinds()
    assert [problem.kind for problem in since_checkpoint()] != []
    # It is said once: in the trail, to whoever is told, and on the page of health.
    with pytest.raises(SigningRefused):
        anchor_log(at_once=True)
    assert AuditEvent.objects.filter(action="integrity.violation").count() == 1
    assert kind in Alerts.open["signing"]
    assert "not signed" in problems()[0]


def test_a_database_of_yesterday_is_refused_until_an_operator_resumes(anchors: Path) -> None:
    anchored()
    restore = set_back()
    anchored(2)
    restore()
    assert kinds() == ["rewound", "truncated"]
    with pytest.raises(SigningRefused, match="the database is older than checkpoint 2"):
        anchor_log(at_once=True)
    output = io.StringIO()
    call_command("checkpoint", resume="the restore drill", stdout=output)
    assert "without checkpoint 2" in output.getvalue()
    assert [each.number for each in in_sink(anchors)] == [1, 2, 3]
    assert in_sink(anchors)[-1].statement.resumed
    assert (kinds(), Alerts.open) == ([], {})
    # The discontinuity stays in every verification.
    call_command("verify_audit", stdout=output)
    assert "1 discontinuities" in output.getvalue()
    assert anchored(1).number == 4
    assert list(since_checkpoint()) == []


def test_a_seam_that_keeper_did_not_write_resumes_nothing(anchors: Path) -> None:
    anchored()
    restore = set_back()
    anchored(2)
    digest = in_sink(anchors)[-1].digest.hex()
    restore()
    details = json.dumps({"anchor": 2, "digest": digest, "reason": "x"}, separators=(",", ":"))
    sql(
        "UPDATE audit_app_auditevent SET action = 'trail.resume', details = %s WHERE stream = 'system'",
        details,
    )
    with pytest.raises(SigningRefused, match="rewound"):
        anchor_log(at_once=True)


def test_nothing_is_resumed_that_goes_on() -> None:
    anchored()
    with pytest.raises(NothingToResume):
        signing.accept_rollback(actor=actors.system(), reason="none")
    with pytest.raises(CommandError, match="nothing to resume"):
        call_command("checkpoint", resume="none")


def test_a_sink_that_holds_what_keeper_did_not_sign_is_named(anchors: Path) -> None:
    anchored()
    (file,) = anchors.glob("*.jsonl")
    genuine = in_sink(anchors)[0]
    forged = SignedCheckpoint(
        genuine.text.replace('"number":1', '"number":9'), genuine.signature, genuine.statement
    )
    file.write_bytes(file.read_bytes() + forged.line())
    with pytest.raises(SigningRefused, match="none of Keeper's keys"):
        anchor_log(at_once=True)
    assert kinds() == ["forged"]


def test_a_sink_that_another_deployment_writes_to_as_well_is_named(anchors: Path) -> None:
    """Both have the same system keys, as where one installation was set up from the files of another."""
    anchored()
    (file,) = anchors.glob("*.jsonl")
    ours = in_sink(anchors)[0].statement
    theirs = signing._signed(replace(ours, deployment=uuid4(), number=7))
    file.write_bytes(file.read_bytes() + theirs.line())
    write(1)
    with pytest.raises(SigningRefused, match="another deployment"):
        anchor_log(at_once=True)


def test_an_older_checkpoint_put_behind_a_newer_one_hides_nothing(anchors: Path) -> None:
    """As whoever may only add to the file (chattr +a) and sets the database back would try."""
    anchored()
    restore = set_back()
    anchored(2)
    (file,) = anchors.glob("*.jsonl")
    older = file.read_bytes().splitlines(keepends=True)[0]
    with file.open("ab") as behind:
        behind.write(older * 3)
    assert kinds() == []
    restore()
    SinkState.objects.update(position=1)
    assert kinds() == ["rewound", "truncated"]
    with pytest.raises(SigningRefused, match="older than checkpoint 2"):
        anchor_log(at_once=True)


def test_a_file_is_looked_through_to_its_beginning(anchors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit_app.sinks.file._TAIL", 10)
    monkeypatch.setattr("audit_app.sinks.file._BLOCK", 4096)
    anchored()
    anchored(1)
    (file,) = anchors.glob("*.jsonl")
    older = file.read_bytes().splitlines(keepends=True)[0]
    with file.open("ab") as behind:
        behind.write(older * 20)
    (sink,) = checkpoint_sinks()
    near, all_of_it = sink.newest(), sink.newest(thorough=True)
    assert near
    assert all_of_it
    numbers = [SignedCheckpoint.from_line(line).number for line in (near, all_of_it)]
    assert numbers == [1, 2]


@pytest.mark.parametrize("left", [0, 1])
def test_a_sink_that_was_cut_together_with_what_is_noted_of_it_is_missed(
    anchors: Path, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note is a row that SQL can edit; what was signed is not."""
    for _ in range(3):
        anchored(1)
    (file,) = anchors.glob("checkpoints-*.jsonl")
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:left]))
    SinkState.objects.all().delete()
    assert kinds() == []
    pass_time(monkeypatch)
    assert kinds() == ["unanchored"]
    assert [problem.kind for problem in since_checkpoint()] == ["unanchored"]


def test_a_trail_of_some_age_that_was_never_signed_is_unanchored(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kinds() == []
    pass_time(monkeypatch)
    assert kinds() == ["unanchored"]
    anchored()
    assert kinds() == []


# --- Sinks that fail -------------------------------------------------------------------------


def test_a_sink_that_was_down_gets_all_that_it_missed(settings: Settings, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path}", f"file:{blocked}"]
    for _ in range(3):
        anchored(1)
    state = SinkState.objects.get(name=f"checkpoints:file:{blocked}")
    assert (state.position, state.failures) == (0, 3)
    assert state.due_at is not None
    assert problems() == ["1 of the sinks of the audit log do not take what they are given"]
    assert state.name in Alerts.open
    blocked.unlink()
    anchored(1)
    assert [each.number for each in in_sink(blocked)] == [1, 2, 3, 4]
    assert (problems(), Alerts.open) == ([], {})


@pytest.mark.parametrize("left", [0, 1])
def test_a_sink_that_was_emptied_or_cut_is_told_and_gets_it_all_again(anchors: Path, left: int) -> None:
    for _ in range(3):
        anchored(1)
    (file,) = anchors.glob("checkpoints-*.jsonl")
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:left]))
    (problem,) = whole_log()
    assert problem.kind == "emptied"
    assert ("its newest checkpoint is 1" if left else "it holds no checkpoint") in problem.message
    anchored(1)
    (event,) = AuditEvent.objects.filter(action="integrity.violation")
    assert (event.outcome, event.object_kind) == ("failed", "sink")
    assert any(kind.startswith("emptied:") for kind in Alerts.open)
    assert [each.number for each in in_sink(anchors)] == [1, 2, 3, 4]
    assert kinds() == []
    assert ["was emptied or cut" in told for told in problems()] == [True]
    anchored(1)
    assert AuditEvent.objects.filter(action="integrity.violation").count() == 1


def test_of_two_workers_that_find_a_sink_emptied_one_tells(anchors: Path) -> None:
    anchored(1)
    (file,) = anchors.glob("checkpoints-*.jsonl")
    file.write_bytes(b"")
    (loss,) = fetch_anchors().losses
    for _ in range(2):
        signing._note_loss(loss)
    assert AuditEvent.objects.filter(action="integrity.violation").count() == 1


def test_nothing_is_signed_while_no_sink_can_be_read(anchors: Path) -> None:
    anchored()
    (file,) = anchors.glob("*.jsonl")
    kept = file.read_bytes()
    file.unlink()
    file.mkdir()
    write()
    with pytest.raises(AnchorUnavailable):
        anchor_log(at_once=True)
    assert "unanchored" in kinds()
    file.rmdir()
    file.write_bytes(kept)
    assert anchored().number == 2


def test_a_line_that_was_torn_never_counted(anchors: Path) -> None:
    anchored()
    (file,) = anchors.glob("*.jsonl")
    line = file.read_bytes()
    file.write_bytes(line + line[: len(line) // 2])
    anchored(1)
    (sink,) = checkpoint_sinks()
    newest = sink.newest()
    assert newest is not None
    assert SignedCheckpoint.from_line(newest).number == 2
    assert kinds() == []


def test_lines_longer_than_a_block_are_read_back(anchors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit_app.sinks.file._BLOCK", 7)
    anchored()
    anchored(1)
    assert kinds() == []


# --- The commands ------------------------------------------------------------------------------


def test_json_tells_the_seam_of_a_resumption(anchors: Path) -> None:
    restore = set_back()
    anchored(1)
    restore()
    call_command("checkpoint", "--resume", "a drill", stdout=io.StringIO())
    out = io.StringIO()
    call_command("verify_audit", "--format", "json", stdout=out)
    told = json.loads(out.getvalue())
    (discontinuity,) = told["discontinuities"]
    assert discontinuity.items() >= {"kind": "resume", "stream": "system"}.items()
    assert discontinuity["message"].endswith("checkpoint 1: a drill")
    assert told["counts"]["discontinuities"] == 1


def test_the_command_prints_the_public_keys() -> None:
    output = io.StringIO()
    call_command("checkpoint", "--public-keys", stdout=output)
    assert (
        output.getvalue().splitlines()[0]
        == f"{SIGNING_KEYS[0]} ed25519 {keyring().sign(b'').public_key.hex()}"
    )


def test_the_command_verifies_since_the_newest_anchor() -> None:
    anchored(100)
    write(2)
    output = io.StringIO()
    call_command("verify_audit", "--since-checkpoint", "--format", "json", stdout=output)
    counts = json.loads(output.getvalue())["counts"]
    assert (counts["events"], counts["anchors"], counts["problems"]) == (2, 1, 0)


@pytest.mark.parametrize(
    "column",
    ["number = 9", "at = '2020-01-01 00:00:00'", "previous_digest = x'00'", "digest = x'00'", "key_id = 'k'"],
)
def test_a_checkpoint_says_what_its_columns_say(column: str) -> None:
    anchored()
    assert signing.signed(Checkpoint.objects.get()).number == 1
    sql(f"UPDATE audit_app_checkpoint SET {column}")
    with pytest.raises(BadCheckpoint, match="columns"):
        signing.signed(Checkpoint.objects.get())


def test_stored_checkpoints_follow_each_other(settings: Settings) -> None:
    settings.KEEPER_AUDIT_SINKS = []
    anchored()
    restore = set_back()
    for _ in range(2):
        anchored(1)
    first, second, third = Checkpoint.objects.order_by("number")
    assert list(signing.chain_problems(None)) == list(signing.chain_problems(signing.signed(first))) == []
    # One is gone.
    take_away(Checkpoint.objects.filter(pk=second.pk))
    assert [problem.kind for problem in signing.chain_problems(None)] == ["missing"]
    assert list(signing.chain_problems(signing.signed(second))) == []
    # Another history: its second checkpoint is genuine, and the third does not follow it.
    restore()
    anchored(5)
    Checkpoint.objects.bulk_create([third])
    assert [row.number for row in Checkpoint.objects.order_by("number")] == [1, 2, 3]
    (problem,) = signing.chain_problems(None)
    assert (problem.kind, problem.object) == ("forked", "checkpoint 3")
    # What Keeper did not sign ends the look: nothing behind it is believed.
    sql("UPDATE audit_app_checkpoint SET key_id = 'k' WHERE number = 2")
    (problem,) = signing.chain_problems(None)
    assert (problem.kind, problem.object) == ("edited", "checkpoint 2")
    assert [problem.kind for problem in signing.stored_problems(2)] == ["edited"]
    assert list(signing.stored_problems(3)) == []


def test_what_cannot_be_read_back_anchors_nothing(
    anchors: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchored()
    settings.KEEPER_AUDIT_SINKS = [*settings.KEEPER_AUDIT_SINKS, "syslog://127.0.0.1:1"]
    (_, other) = checkpoint_sinks()
    assert not other.readable
    # It is not asked, and so it cannot be down.
    assert len(fetch_anchors().anchors) == 1
    settings.KEEPER_AUDIT_SINKS = ["syslog://127.0.0.1:1"]
    assert fetch_anchors().anchors == []


def test_a_copy_of_the_installation_signs_and_delivers_nothing(
    anchors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("audit_app.checkpoints.schedule", "audit_app.sinks.delivery"):
        monkeypatch.setattr(f"{module}.is_active", lambda: False)
    assert anchor_log(at_once=True) is None
    signing.make_checkpoint(at_once=True)
    assert deliver_checkpoints(at_once=True) == deliver_events(at_once=True) == 0
    assert not list(anchors.glob("*.jsonl"))
    assert not SinkState.objects.filter(name__startswith="checkpoints:", succeeded_at__isnull=False).exists()


def test_s3_takes_checkpoints_and_events_apart(settings: Settings) -> None:
    settings.KEEPER_EVENT_SINKS = ["s3://bucket/keeper?region=us-east-1"]
    settings.KEEPER_AUDIT_SINKS = settings.KEEPER_EVENT_SINKS
    assert [(sink.kind, sink.readable) for sink in checkpoint_sinks()] == [("s3", True)]
    assert [(sink.kind, sink.readable) for sink in configured_event_sinks()] == [("s3", False)]


def test_programs_read_what_was_signed_and_the_keys(anchors: Path) -> None:
    def told(**options: object) -> Any:
        output = io.StringIO()
        call_command("checkpoint", format="json", stdout=output, stderr=io.StringIO(), **options)
        return json.loads(output.getvalue())

    write(2)
    assert told() == {"checkpoint": 1}
    assert told() == {"checkpoint": None}
    public_key = keyring().sign(b"").public_key.hex()
    assert {"key": str(SIGNING_KEYS[0]), "algorithm": "ed25519", "public_key": public_key} in told(
        public_keys=True
    )
    restore = set_back()
    anchored(1)
    restore()
    assert told(resume="a drill") == {"checkpoint": 3}
