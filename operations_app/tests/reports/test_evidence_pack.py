"""An evidence pack, verified by a stranger with one program, and tampered with in each place."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID
from zipfile import ZipFile

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from audit_app.checkpoints.schedule import anchor_log
from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from audit_app.retention.prune import prune
from environments_app.authorization.principals import system_principal
from environments_app.models import Membership, Review, ReviewItem
from environments_app.reviews import decisions
from environments_app.reviews import service as reviews
from environments_app.reviews.decisions import UNCHANGED, Less
from environments_app.reviews.evidence import review_lines
from environments_app.reviews.population import digest_of_given, key_of, lines_for
from environments_app.tests.cast import Cast, user_with_password
from operations_app.reports import pack
from secrets_app.tests.kept import VALUE, keep

pytestmark = pytest.mark.django_db
SCRIPT = Path(__file__).resolve().parents[3] / "docs" / "verify_offline.py"
REPORTS = ("report.html", "report.json")


@pytest.fixture
def sink(cast: Cast, settings: Settings, tmp_path: Path) -> Path:
    """A folder of checkpoints that were signed before the pack; the auditor fetches its file."""
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path / 'sink'}"]
    keep(cast, "shop/db")
    anchor_log(at_once=True)
    (file,) = (tmp_path / "sink").glob("*.jsonl")
    fetched = tmp_path / "fetched.jsonl"
    fetched.write_bytes(file.read_bytes())
    return fetched


def made(folder: Path, name: str = "evidence") -> Path:
    """Write a pack, unpack it as an auditor does, and return the folder."""
    path = folder / f"{name}.zip"
    call_command("evidence_pack", str(path), stdout=io.StringIO())
    assert path.stat().st_mode & 0o077 == 0
    with ZipFile(path) as archive:
        archive.extractall(folder / name)
    return folder / name


def verified(
    folder: Path,
    sink: Path,
    files: tuple[str, ...] = REPORTS,
    key: str = "",
    pack: str = "",
    more: tuple[str, ...] = (),
) -> tuple[int, str]:
    key = key or next(iter(keyring().public_keys().values())).hex()
    named = [part for file in files for part in ("--file", file)]
    named += ["--pack", pack] if pack else []
    named += more
    # Isolated, so that nothing of Keeper can be imported.
    command = [
        sys.executable,
        "-I",
        str(SCRIPT),
        "events.jsonl",
        "--public-key",
        key,
        "--checkpoint",
        str(sink),
    ]
    done = subprocess.run([*command, *named], capture_output=True, text=True, check=False, cwd=folder)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.every_database
def test_a_stranger_verifies_a_pack(sink: Path, tmp_path: Path) -> None:
    folder = made(tmp_path)
    assert {file.name for file in folder.iterdir()} == {"README.txt", "events.jsonl", *REPORTS}
    code, said = verified(folder, sink)
    assert code == 0, said
    for name in REPORTS:
        assert f"proven: file {name}: event system #" in said
    assert "not that its rows follow" in said
    assert json.loads((folder / "report.json").read_text())["title"] == "Compliance report"
    assert "--file report.html" in (folder / "README.txt").read_text()
    # The page is whole by itself: no address is loaded and nothing runs.
    page = (folder / "report.html").read_text()
    assert not re.search(r"<script|<link|<img|@import|url\(", page)
    assert VALUE not in "".join(file.read_text() for file in folder.iterdir())


def pack_numbers() -> list[str]:
    """Return the numbers of the events of packs, oldest first."""
    events = AuditEvent.objects.filter(action=Action.TRAIL_EXPORT, object_name="evidence pack")
    return [str(number) for number in events.order_by("sequence").values_list("sequence", flat=True)]


def test_an_older_pack_is_still_proven_by_a_later_export_if_the_auditor_means_it(
    sink: Path, tmp_path: Path
) -> None:
    first, later = made(tmp_path), made(tmp_path, "later")
    for name in REPORTS:
        (later / name).write_bytes((first / name).read_bytes())
    older, newer = pack_numbers()
    code, said = verified(later, sink)
    assert code == 1
    assert f"pack of event system #{older}, and not of #{newer}" in said
    code, said = verified(later, sink, pack=older)
    assert (code, said.count("proven: file")) == (0, 2), said


def test_a_file_of_an_earlier_pack_is_not_one_of_the_later(sink: Path, tmp_path: Path) -> None:
    first, later = made(tmp_path), made(tmp_path, "later")
    (later / "report.html").write_bytes((first / "report.html").read_bytes())
    older, newer = pack_numbers()
    # Neither as the later pack, nor as the earlier one, nor as any other.
    for pack_ in ("", older, newer, "1"):
        code, said = verified(later, sink, pack=pack_)
        assert code == 1, said
        assert "exchanged: file report." in said


def test_a_file_under_another_name_is_none_of_the_pack(sink: Path, tmp_path: Path) -> None:
    folder = made(tmp_path)
    page, rows = (folder / name for name in REPORTS)
    held = page.read_bytes()
    page.write_bytes(rows.read_bytes())
    rows.write_bytes(held)
    code, said = verified(folder, sink)
    assert (code, said.count("records it as another file")) == (1, 2)


def test_a_file_that_was_not_given_is_named(sink: Path, tmp_path: Path) -> None:
    code, said = verified(made(tmp_path), sink, files=("report.html",))
    assert code == 0
    assert "has report.json too, which was not given" in said


Lines = list[dict[str, Any]]


def canonical(line: dict[str, Any]) -> str:
    return json.dumps(line, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def rewritten(folder: Path, change: Callable[[Lines], Lines]) -> None:
    file = folder / "events.jsonl"
    lines = change([json.loads(line) for line in file.read_text().splitlines()])
    file.write_text("".join(f"{canonical(line)}\n" for line in lines))


def record_of(lines: Lines) -> dict[str, Any]:
    return next(line for line in lines if line["kind"] == "event" and "evidence pack" in line["text"])


def renamed(folder: Path) -> None:
    """Put the digest of the changed report into the event that records it."""
    page = folder / "report.html"
    before = hashlib.sha256(page.read_bytes()).hexdigest()
    page.write_text(page.read_text().replace("Compliance", "Complicance"))
    after = hashlib.sha256(page.read_bytes()).hexdigest()

    def change(lines: Lines) -> Lines:
        line = record_of(lines)
        line["text"] = line["text"].replace(before, after)
        return lines

    rewritten(folder, change)


def rehashed(folder: Path) -> None:
    """The same, with the hash of the event made to fit."""
    renamed(folder)

    def change(lines: Lines) -> Lines:
        line = record_of(lines)
        line["hash"] = hashlib.sha256(bytes.fromhex(line["previous"]) + line["text"].encode()).hexdigest()
        return lines

    rewritten(folder, change)


def appended(folder: Path) -> None:
    """Add an event of one's own that records the changed report, behind what is signed."""
    page = folder / "report.html"
    page.write_text(page.read_text() + "<!-- -->")
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in REPORTS}

    def change(lines: Lines) -> Lines:
        last = [line for line in lines if line["kind"] == "event" and line["stream"] == "system"][-1]
        said = json.loads(last["text"])
        said |= {"sequence": said["sequence"] + 1, "action": "trail.export"}
        said["details"] = json.dumps({"files": digests})
        text = json.dumps(said, separators=(",", ":"), sort_keys=True)
        own = last | {"text": text, "previous": last["hash"]}
        own["hash"] = hashlib.sha256(bytes.fromhex(last["hash"]) + text.encode()).hexdigest()
        end = next(line for line in lines if line["kind"] == "end")
        end["counts"]["event"] += 1
        lines.insert(lines.index(last) + 1, own)
        return lines

    rewritten(folder, change)


def without(chosen: Callable[[dict[str, Any]], bool]) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        def change(lines: Lines) -> Lines:
            kept = [line for line in lines if not chosen(line)]
            end = next((line for line in kept if line["kind"] == "end"), None)
            if end:
                for kind in ("event", "checkpoint", "manifest"):
                    end["counts"][kind] = sum(line["kind"] == kind for line in kept)
            return kept

        rewritten(folder, change)

    return tamper


def last_checkpoint(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["kind"] == "checkpoint"][-1]
    without(lambda line: line == last)(folder)


def changed(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return tamper


def signed_anew(folder: Path) -> None:
    def change(lines: Lines) -> Lines:
        for line in lines:
            if line["kind"] == "checkpoint":
                line["signature"] = "00" * 64
        return lines

    rewritten(folder, change)


def twisted(kind: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    """Change the text of the last line of a kind."""

    def tamper(folder: Path) -> None:
        file = folder / "events.jsonl"
        lines = file.read_text().splitlines()
        at = max(at for at, line in enumerate(lines) if json.loads(line)["kind"] == kind)
        assert change(lines[at]) != lines[at]
        lines[at] = change(lines[at])
        file.write_text("".join(f"{line}\n" for line in lines))

    return tamper


TAMPERINGS: dict[str, Callable[[Path], None]] = {
    "a byte of the page": changed("report.html", lambda raw: raw.replace(b"Keeper", b"Keepers", 1)),
    "a space behind the page": changed("report.html", lambda raw: raw + b" "),
    "a row of the rows": changed("report.json", lambda raw: re.sub(rb'"rows":\[\[.*?\]', b'"rows":[[]', raw, count=1, flags=re.DOTALL)),
    "the end of the rows": changed("report.json", lambda raw: raw[:-10]),
    "an empty page": changed("report.html", lambda _: b""),
    "the record names another page": renamed,
    "the record names another page, and fits": rehashed,
    "a record of one's own behind what is signed": appended,
    "no record": without(lambda line: line["kind"] == "event" and "evidence pack" in line["text"]),
    "the last checkpoint": last_checkpoint,
    "no checkpoint": without(lambda line: line["kind"] == "checkpoint"),
    "a stream": without(lambda line: line["kind"] == "event" and line["stream"].startswith("environment")),
    "no end": without(lambda line: line["kind"] == "end"),
    "signatures": signed_anew,
    "a part of a line of events twice": twisted("event", lambda text: text.replace('"text":', '"text":"{}","text":')),
    "one part more in an event": twisted("event", lambda text: text.replace("{", '{"added":1,', 1)),
    "one part more in a checkpoint": twisted("checkpoint", lambda text: text.replace("{", '{"added":1,', 1)),
    "a space in a line": twisted("event", lambda text: text.replace(":", ": ", 1)),
    "no log": changed("events.jsonl", lambda _: b""),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TAMPERINGS))
def test_no_tampering_is_taken_for_the_pack(sink: Path, tmp_path: Path, name: str) -> None:
    folder = made(tmp_path)
    TAMPERINGS[name](folder)
    code, said = verified(folder, sink)
    assert code != 0, said


def test_the_pack_of_another_key_proves_nothing(sink: Path, tmp_path: Path) -> None:
    code, said = verified(made(tmp_path), sink, key="11" * 32)
    assert code == 1, said


def test_events_meanwhile_make_no_difference(
    sink: Path, tmp_path: Path, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anchored_late(*, at_once: bool) -> Any:
        checkpoint = anchor_log(at_once=at_once)
        keep(cast, "shop/meanwhile")
        return checkpoint

    monkeypatch.setattr(pack, "anchor_log", anchored_late)
    code, said = verified(made(tmp_path), sink)
    assert code == 0, said
    assert "newer than what is signed" in said


def test_what_is_not_signed_leaves_no_file(
    sink: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "anchor_log", lambda **_: None)
    with pytest.raises(CommandError, match="not active"):
        made(tmp_path)
    assert not (tmp_path / "evidence.zip").exists()
    (tmp_path / "mine.zip").write_text("kept")
    with pytest.raises(CommandError, match="cannot be written"):
        made(tmp_path, "mine")
    assert (tmp_path / "mine.zip").read_text() == "kept"


def test_it_is_recorded_as_a_report_and_an_export(sink: Path, tmp_path: Path) -> None:
    made(tmp_path)
    actions = list(AuditEvent.objects.order_by("-pk").values_list("action", flat=True)[:2])
    assert {Action.REPORT_GENERATE, Action.TRAIL_EXPORT} <= set(actions)


@pytest.fixture
def review(cast: Cast, sink: Path) -> Review:
    """A review that was decided and signed off: bob's access is ended, erin's less, the rest kept.

    Charlie's was given since.
    """
    signed = reviews.start(actor=cast.principal(cast.root), name="Q4", environments=[cast.development])
    choices = {"bob": "end", "erin": "change"}
    for item in ReviewItem.objects.filter(review=signed).select_related("review"):
        decisions.decide(
            actor=cast.principal(cast.root),
            item=item,
            decision=choices.get(item.subject_name, "keep"),
            state=lines_for([item])[key_of(item)].state,
            reason="needed",
            less=Less("viewer", "shop") if item.subject_name == "erin" else UNCHANGED,
        )
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="reader")
    auditor = cast.principal(user_with_password("audrey", role="auditor"))
    given = digest_of_given(reviews.visible_given(auditor, signed))
    return reviews.sign(actor=auditor, review=signed, given=given)


def file_of(review: Review) -> str:
    return f"review-{review.uuid}.jsonl"


@pytest.mark.every_database
def test_a_stranger_verifies_a_review_entry_by_entry(review: Review, sink: Path, tmp_path: Path) -> None:
    folder = made(tmp_path)
    code, said = verified(folder, sink, files=(*REPORTS, file_of(review)))
    assert code == 0, said
    assert "proven: review Q4: 4 entries (1 change, 1 end, 2 keep), signed by audrey at" in said
    assert "with 1 given since, as of event" in said
    assert f"--file {file_of(review)}" in (folder / "README.txt").read_text()
    (head, *items) = [json.loads(line) for line in (folder / file_of(review)).read_text().splitlines()]
    assert (head["state"], head["items"], len(items)) == ("signed", 4, 4)
    assert '"subject_name":"bob"' in "".join(item["frozen"] for item in items)
    report = json.loads((folder / "report.json").read_text())
    (section,) = [each for each in report["sections"] if each["key"] == "reviews"]
    assert [row[11] for row in section["rows"]] == ["Keep", "Change", "End", "Keep", "Given since"]


def test_a_reason_may_hold_what_ends_a_line_elsewhere(cast: Cast, sink: Path, tmp_path: Path) -> None:
    review = reviews.start(actor=cast.principal(cast.root), name="Q4", environments=[cast.production])
    (item,) = ReviewItem.objects.filter(review=review).select_related("review")
    decisions.decide(
        actor=cast.principal(cast.root), item=item, decision="keep", state=lines_for([item])[key_of(item)].state,
        reason="\u2028needed\u2029for\u0085payroll",
    )  # fmt: skip
    code, said = verified(made(tmp_path), sink, files=(*REPORTS, file_of(review)))
    assert code == 0, said


def test_decisions_while_the_pack_is_made_are_no_damage(
    cast: Cast, review: Review, sink: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = reviews.start(actor=cast.principal(cast.root), name="Q5", environments=[cast.production])
    (item,) = ReviewItem.objects.filter(review=running).select_related("review")

    def decided_late(*, at_once: bool) -> Any:
        state = lines_for([item])[key_of(item)].state
        decisions.decide(actor=cast.principal(cast.root), item=item, decision="keep", state=state, reason="x")
        return anchor_log(at_once=at_once)

    monkeypatch.setattr(pack, "anchor_log", decided_late)
    code, said = verified(made(tmp_path), sink, files=(file_of(running), file_of(review)))
    assert code == 0, said
    assert "proven: review Q5: 1 entries (1 undecided), open" in said


def test_what_keeper_ended_is_proven_and_by_a_person_or_before_its_time_is_not(
    cast: Cast, sink: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = reviews.start(
        actor=cast.principal(cast.root), name="Q5", environments=[cast.development], kinds=["direct"],
        ends_undecided=True,
    )  # fmt: skip
    late = review.due_at + timedelta(days=8)
    with mock.patch.object(timezone, "now", return_value=late):
        assert decisions.end_undecided() == 3
    code, said = verified(made(tmp_path), sink, files=(file_of(review),))
    assert code == 0, said
    assert "proven: review Q5: 4 entries (3 end, 1 undecided), open" in said
    # An edited worker that does not wait.
    early = reviews.start(
        actor=cast.principal(cast.root), name="Q6", environments=[cast.production], ends_undecided=True
    )
    Membership.objects.create(environment=cast.production, user=cast.erin, role="manager")
    with mock.patch.object(decisions, "GRACE_DAYS", -15):
        assert decisions.end_undecided() == 1
    code, said = verified(made(tmp_path, "later"), sink, files=(file_of(early),))
    assert code == 1, said
    assert "Keeper itself decided about it, which the review does not say, or not yet" in said


Edit = Callable[[dict[str, Any], Lines], Lines]


def frozen_as(name: str, value: Any) -> Edit:
    def edit(_head: dict[str, Any], items: Lines) -> Lines:
        facts = json.loads(items[0]["frozen"]) | {name: value}
        items[0]["frozen"] = json.dumps(facts, separators=(",", ":"), sort_keys=True)
        return items

    return edit


def item_as(name: str, value: Any) -> Edit:
    def edit(_head: dict[str, Any], items: Lines) -> Lines:
        items[0][name] = value
        return items

    return edit


def head_as(name: str, value: Any) -> Edit:
    def edit(head: dict[str, Any], items: Lines) -> Lines:
        head[name] = value
        return items

    return edit


def second_as(**parts: Any) -> Edit:
    """Edit the entry of erin, whose access was changed."""
    return lambda _, items: [items[0], items[1] | parts, *items[2:]]


def given_role(head: dict[str, Any], items: Lines) -> Lines:
    head["given"][0]["role"] = "viewer"
    return items


EDITS: dict[str, Edit] = {
    "an entry is left out": lambda _, items: items[1:],
    "an entry is added": lambda _, items: [*items, items[0] | {"uuid": "8" * 36}],
    "entries are exchanged": lambda _, items: [
        items[0] | {"frozen": items[1]["frozen"]}, items[1] | {"frozen": items[0]["frozen"]}, *items[2:]
    ],
    "the role that was held": frozen_as("role", "viewer"),
    "the holder": frozen_as("subject_name", "nobody"),
    "the last use": frozen_as("last_used_at", "2026-11-01T00:00:00.000000+00:00"),
    "the reviewer": frozen_as("reviewer_name", "nobody"),
    "a decision": item_as("decision", "end"),
    "a decision is taken away": item_as("decision", ""),
    "a reason": item_as("reason", "other"),
    "what was kept": item_as("kept", {"role": "viewer", "prefix": "", "expires_at": None, "as_listed": True}),
    "who decided": item_as("decided_by", "alice"),
    "whose account decided": item_as("decided_by_uuid", "8" * 36),
    "when it was decided": item_as("decided_at", "2026-11-01T00:00:00.000000+00:00"),
    "it is said to be open": head_as("state", "open"),
    "it is said to be canceled": head_as("state", "cancelled"),
    "who signed": head_as("closed_by", "root"),
    "another review": head_as("uuid", "8" * 36),
    "when it was signed": head_as("closed_at", "2026-11-01T00:00:00.000000+00:00"),
    "the comment of the sign-off": head_as("comment", "all good"),
    "when it was due": head_as("due_at", "2026-11-01T00:00:00.000000+00:00"),
    "its environments": head_as("scope", ["production"]),
    "its name": head_as("name", "Q3"),
    "who started it": head_as("started_by", "alice"),
    "when it was listed": head_as("population_at", "2026-11-01T00:00:00.000000+00:00"),
    "how much it says it lists": head_as("items", 5),
    "the digest that it says it has": head_as("population", "0" * 64),
    "how far the log is in it": head_as("through", 1),
    "its path": head_as("prefix", "shop"),
    "its kinds": head_as("kinds", ["token"]),
    "that it ends what nobody decided": head_as("ends_undecided", True),
    "what was given since": given_role,
    "that anything was given since": head_as("given", []),
    "a change is taken for a keep": second_as(decision="keep"),
    "what a change left": second_as(
        kept={"role": "reader", "prefix": "shop", "expires_at": None, "as_listed": False}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(EDITS))
def test_no_edit_of_a_review_is_taken_for_it_even_if_keeper_recorded_the_file(
    review: Review, sink: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The database could be edited before the pack is made: the file's own digest is then right."""

    def edited(each: Review) -> Any:
        head, *items = map(json.loads, review_lines(each))
        items = EDITS[name](head, items)
        return [f"{json.dumps(line)}\n".encode() for line in (head, *items)]

    monkeypatch.setattr(pack, "review_lines", edited)
    code, said = verified(made(tmp_path), sink, files=(*REPORTS, file_of(review)))
    assert code == 1, said
    assert "edited: review" in said


def test_a_review_that_was_deleted_before_the_pack_is_missed(
    review: Review, sink: Path, tmp_path: Path, sql: Callable[..., None]
) -> None:
    sql(f"DELETE FROM {ReviewItem._meta.db_table}")
    sql(f"DELETE FROM {Review._meta.db_table}")
    code, said = verified(made(tmp_path), sink)
    assert code == 1, said
    assert "missing: review Q4: event system #" in said


def test_a_review_of_another_time_is_not_missed(review: Review, sink: Path, tmp_path: Path) -> None:
    """One that was over before the period of the pack, and one that began after it."""
    assert review.closed_at
    after = review.closed_at + timedelta(microseconds=1)
    for name, since, until in (("later", after, None), ("earlier", None, review.population_at)):
        pack.write_pack(
            tmp_path / f"{name}.zip", actor=system_principal(is_admin=True), since=since, until=until
        )
        with ZipFile(tmp_path / f"{name}.zip") as archive:
            archive.extractall(tmp_path / name)
        code, said = verified(tmp_path / name, sink)
        assert (code, "review" in said) == (0, False), said


@pytest.mark.parametrize(
    "action", ["review.start", "review.decide", "review.sign", "member.revoke", "member.change"]
)
def test_a_review_without_one_of_its_events_is_not_proven(
    review: Review, sink: Path, tmp_path: Path, action: str
) -> None:
    folder = made(tmp_path)
    without(lambda line: line["kind"] == "event" and f'"action":"{action}"' in line["text"])(folder)
    code, said = verified(folder, sink, files=(*REPORTS, file_of(review)))
    assert code == 1, said


@pytest.fixture
def long_log(cast: Cast, settings: Settings, tmp_path: Path) -> Path:
    """A log of a year, signed at times; the auditor fetched the checkpoints of today."""
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path / 'sink'}"]
    now = timezone.now()
    for days in (400, 300, 200, 100, 0):
        with mock.patch.object(timezone, "now", return_value=now - timedelta(days=days)):
            keep(cast, f"shop/{days}-days-ago")
            # Retention takes out such events.
            commit_record(
                actor=actors.system(), action=Action.SIGN_IN, stream=streams.SYSTEM,
                object=AuditObject("user", cast.bob.uuid, "bob"),
            )  # fmt: skip
            anchor_log(at_once=True)
    (file,) = (tmp_path / "sink").glob("*.jsonl")
    fetched = tmp_path / "fetched.jsonl"
    fetched.write_bytes(file.read_bytes())
    return fetched


def segment(folder: Path, name: str = "evidence", *, days: int = 150, until: int = 0) -> Path:
    """Write the pack of a period, unpack it, and return the folder."""
    now = timezone.now()
    pack.write_pack(
        folder / f"{name}.zip", actor=system_principal(is_admin=True), since=now - timedelta(days=days),
        until=now - timedelta(days=until) if until else None,
    )  # fmt: skip
    with ZipFile(folder / f"{name}.zip") as archive:
        archive.extractall(folder / name)
    return folder / name


def lines_of_log(folder: Path) -> Lines:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def written(folder: Path, lines: Lines) -> None:
    end = lines[-1]
    if end["kind"] == "end":
        for kind in ("event", "checkpoint", "manifest"):
            end["counts"][kind] = sum(line["kind"] == kind for line in lines)
    (folder / "events.jsonl").write_text("".join(f"{canonical(line)}\n" for line in lines))


@pytest.mark.every_database
def test_a_pack_holds_the_segment_of_its_period(long_log: Path, tmp_path: Path) -> None:
    folder = segment(tmp_path)
    code, said = verified(folder, long_log)
    assert code == 0, said
    assert said.count("proven: file report.") == 2
    header, *lines = lines_of_log(folder)
    numbers = [json.loads(line["checkpoint"])["number"] for line in lines if line["kind"] == "checkpoint"]
    # That of 200 days ago is the last one before the period; three follow, and that of the pack.
    assert (header["after"], numbers) == (3, [3, 4, 5, 6])
    text = (folder / "events.jsonl").read_text()
    assert "shop/100-days-ago" in text
    assert "shop/200-days-ago" not in text
    assert "events up to checkpoint 3 of" in said
    assert "are not in this segment" in said


def test_a_period_since_the_beginning_holds_the_whole_log(long_log: Path, tmp_path: Path) -> None:
    folder = segment(tmp_path, days=500)
    code, said = verified(folder, long_log)
    assert (code, "after" in lines_of_log(folder)[0]) == (0, False), said
    # A later whole log verifies the pack of a segment as well.
    other = segment(tmp_path, "other")
    whole = segment(tmp_path, "whole", days=500)
    for name in REPORTS:
        (whole / name).write_bytes((other / name).read_bytes())
    code, said = verified(whole, long_log, pack=pack_numbers()[-2])
    assert code == 0, said


def test_a_review_that_began_before_the_period_is_in_the_segment(
    cast: Cast, long_log: Path, tmp_path: Path, sql: Callable[..., None]
) -> None:
    long_ago = timezone.now() - timedelta(days=250)
    with mock.patch.object(timezone, "now", return_value=long_ago):
        running = reviews.start(
            actor=cast.principal(cast.root), name="Q1", environments=[cast.development], days=180
        )
    # The clock of the fixture ran ahead: the checkpoints of that time hold no event of it.
    folder = segment(tmp_path)
    assert lines_of_log(folder)[0]["after"] == 2
    code, said = verified(folder, long_log, files=(*REPORTS, file_of(running)))
    assert code == 0, said
    assert "proven: review Q1" in said
    # Without its rows it is missed all the same.
    sql(f"DELETE FROM {ReviewItem._meta.db_table}")
    sql(f"DELETE FROM {Review._meta.db_table}")
    code, said = verified(segment(tmp_path, "later"), long_log)
    assert code == 1, said
    assert "missing: review Q1: event system #" in said


def test_a_segment_is_no_export(long_log: Path, tmp_path: Path) -> None:
    """Without the files of its pack it is complete since a day alone that the auditor names."""
    folder, now = segment(tmp_path), timezone.now()
    code, said = verified(folder, long_log, files=())
    assert (code, "incomplete: the segment begins after checkpoint 3 of" in said) == (3, True), said
    for days, expected in ((150, 0), (250, 3)):
        since = (now - timedelta(days=days)).date().isoformat()
        assert verified(folder, long_log, files=(), more=("--since", since))[0] == expected


def test_a_segment_of_another_key_proves_nothing(long_log: Path, tmp_path: Path) -> None:
    code, said = verified(segment(tmp_path), long_log, key="11" * 32)
    assert (code, "proven: file" in said) == (3, False), said


def test_a_review_of_the_pack_that_is_not_given_is_lacking(
    review: Review, sink: Path, tmp_path: Path
) -> None:
    code, said = verified(made(tmp_path), sink)
    assert (code, f"has {file_of(review)} too, which was not given" in said) == (3, True), said


def test_an_older_checkpoint_does_not_vouch_for_a_segment(long_log: Path, tmp_path: Path) -> None:
    folder = segment(tmp_path)
    long_log.write_text("".join(line for line in long_log.read_text().splitlines(keepends=True)[:2]))
    code, said = verified(folder, long_log)
    assert code == 3, said
    assert "is older than the first of this segment. Fetch a newer one" in said


def of_stream(line: dict[str, Any], stream: str) -> bool:
    return bool(line["kind"] == "event" and line["stream"].startswith(stream))


def begin_later(folder: Path, *, stream: str = "", header: bool = True) -> None:
    """Take the first event of streams away, and say that the segment begins after it."""
    head, *lines = lines_of_log(folder)
    for name in [name for name in head["begins"] if name.startswith(stream)]:
        first = next(line for line in lines if of_stream(line, name))
        lines.remove(first)
        head["begins"][name] += header
    written(folder, [head, *lines])


def begin_at_a_later_checkpoint(folder: Path) -> None:
    """Drop the first checkpoint with the events up to the second, as if that were the first."""
    head, *lines = lines_of_log(folder)
    said = [json.loads(line["checkpoint"]) for line in lines if line["kind"] == "checkpoint"][1]
    head["after"], head["begins"] = said["number"], {name: at for name, (at, _) in said["heads"].items()}
    kept = [
        line
        for line in lines
        if not (
            (line["kind"] == "checkpoint" and json.loads(line["checkpoint"])["number"] < said["number"])
            or (
                line["kind"] == "event"
                and json.loads(line["text"])["sequence"] <= head["begins"].get(line["stream"], 0)
            )
        )
    ]
    written(folder, [head, *kept])


def end_earlier(folder: Path, *, checkpoint: bool) -> None:
    """Drop the last event of each stream, and perhaps the last checkpoint."""
    head, *lines = lines_of_log(folder)
    for name in head["streams"]:
        lines.remove([line for line in lines if of_stream(line, name)][-1])
    if checkpoint:
        lines.remove([line for line in lines if line["kind"] == "checkpoint"][-1])
    written(folder, [head, *lines])


def drop_stream(folder: Path, *, header: bool) -> None:
    head, *lines = lines_of_log(folder)
    gone = next(name for name in head["streams"] if name.startswith("environment"))
    if header:
        head["streams"].remove(gone)
        head["begins"].pop(gone, None)
    written(folder, [head, *(line for line in lines if not of_stream(line, gone))])


def end_stream_at_its_begin(folder: Path) -> None:
    """Say of a stream that it begins where it ends, and drop its events."""
    head, *lines = lines_of_log(folder)
    gone = next(name for name in head["begins"] if name.startswith("environment"))
    last = [line for line in lines if of_stream(line, gone)][-1]
    head["begins"][gone] = json.loads(last["text"])["sequence"]
    written(folder, [head, *(line for line in lines if not of_stream(line, gone))])


def splice(folder: Path) -> None:
    """Move the events of a stream below the name of another one."""
    head, *lines = lines_of_log(folder)
    gone = next(name for name in head["begins"] if name.startswith("environment"))
    other = gone[:-1] + ("0" if gone[-1] != "0" else "1")
    head["streams"] = sorted({*head["streams"], other} - {gone})
    head["begins"][other] = head["begins"].pop(gone)
    moved = [line | {"stream": other} if of_stream(line, gone) else line for line in lines]
    written(folder, [head, *moved])


def insert_stream(folder: Path) -> None:
    """Add a stream of one's own, which nothing opened."""
    head, *lines = lines_of_log(folder)
    own = json.loads(next(line for line in lines if of_stream(line, "environment"))["text"])
    name = "environment:" + "0" * 32
    genesis = hashlib.sha256(
        b"keeper/v1/audit-stream" + UUID(head["deployment"]).bytes + name.encode()
    ).hexdigest()
    text = canonical(own | {"stream": name, "sequence": 1})
    digest = hashlib.sha256(bytes.fromhex(genesis) + text.encode()).hexdigest()
    line = {"kind": "event", "stream": name, "text": text, "previous": genesis, "hash": digest, "mac": "00"}
    head["streams"] = sorted([*head["streams"], name])
    written(folder, [head, *lines[:-1], line, lines[-1]])


def exchange_first_checkpoint(folder: Path) -> None:
    """Put another head into the first checkpoint, with an event to fit; nobody else signs it."""
    head, *lines = lines_of_log(folder)
    first = next(line for line in lines if line["kind"] == "checkpoint")
    said = json.loads(first["checkpoint"])
    said["heads"] = {name: [at, "ab" * 32] for name, (at, _) in said["heads"].items()}
    first["checkpoint"] = canonical(said)
    written(folder, [head, *lines])


def drop_checkpoint(folder: Path, place: int) -> None:
    lines = lines_of_log(folder)
    lines.remove([line for line in lines if line["kind"] == "checkpoint"][place])
    written(folder, lines)


def without_after(folder: Path) -> None:
    """Say that it is a bundle of retention, which begins where another one ended."""
    head, *lines = lines_of_log(folder)
    del head["after"]
    written(folder, [head, *lines])


def of_another_period(folder: Path) -> None:
    """Exchange the log for that of a pack of a shorter period."""
    other = segment(folder.parent, f"other-{folder.name}", days=50)
    (folder / "events.jsonl").write_bytes((other / "events.jsonl").read_bytes())


def shorter_of_another_period(folder: Path) -> None:
    """The same, with the files of the shorter pack's own event under the names of the longer."""
    other = segment(folder.parent, f"other-{folder.name}", days=50)
    for file in (*REPORTS, "events.jsonl"):
        (folder / file).write_bytes((other / file).read_bytes())
    begin_at_a_later_checkpoint(folder)


def end_at_held(folder: Path) -> Lines:
    """Return the log without what follows the checkpoint that the auditor has: also without the pack's event."""
    head, *lines = lines_of_log(folder)
    said = [json.loads(line["checkpoint"]) for line in lines if line["kind"] == "checkpoint"]
    held = next(each for each in said if each["number"] == 5)
    return [
        head,
        *(
            line
            for line in lines
            if line["kind"] == "end"
            or (line["kind"] == "checkpoint" and json.loads(line["checkpoint"])["number"] <= 5)
            or (
                line["kind"] == "event"
                and json.loads(line["text"])["sequence"] <= held["heads"].get(line["stream"], [0])[0]
            )
        ),
    ]


def before_begin(lines: Lines, *said: dict[str, Any]) -> Lines:
    """Insert events of one's own before the first one of the system, as if retention had kept them."""
    place = next(at for at, line in enumerate(lines) if of_stream(line, "system"))
    own: Lines = []
    for sequence, each in enumerate(said, start=1):
        text = canonical(each | {"sequence": sequence, "stream": "system"})
        digest = hashlib.sha256(bytes.fromhex("11" * 32) + text.encode()).hexdigest()
        own.append(
            {
                "kind": "event",
                "stream": "system",
                "text": text,
                "previous": "11" * 32,
                "hash": digest,
                "mac": "",
            }
        )
    return [*lines[:place], *own, *lines[place:]]


def record_before_begin(folder: Path, *, trimmed: bool = True) -> None:
    """Record files of one's own by an event before the begin."""
    record = json.loads(record_of(lines_of_log(folder))["text"])
    (folder / "report.html").write_text("<p>Nobody had access.</p>")
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in REPORTS}
    record["details"] = canonical(json.loads(record["details"]) | {"files": files, "reviews_through": 1})
    lines = end_at_held(folder) if trimmed else lines_of_log(folder)
    written(folder, before_begin(lines, record))


def event_before_begin(folder: Path) -> None:
    """Say of somebody what nobody recorded."""
    lines = lines_of_log(folder)
    said = json.loads(next(line for line in lines if of_stream(line, "system"))["text"])
    written(folder, before_begin(lines, said | {"actor_name": "mallory"}))


SEGMENTS: dict[str, Callable[[Path], None]] = {
    "a record of one's own before the begin": partial(record_before_begin, trimmed=False),
    "a record of one's own before the begin, and no other": record_before_begin,
    "an event of one's own before the begin": event_before_begin,
    "the first event of a stream, and the header says so": partial(begin_later, stream="environment"),
    "the first event of the installation, and the header says so": partial(begin_later, stream="system"),
    "the first event of each stream, in silence": partial(begin_later, header=False),
    "it begins at a later checkpoint": begin_at_a_later_checkpoint,
    "the last event of each stream": partial(end_earlier, checkpoint=False),
    "the last event of each stream and the last checkpoint": partial(end_earlier, checkpoint=True),
    "a stream": partial(drop_stream, header=False),
    "a stream, and the header says so": partial(drop_stream, header=True),
    "a stream ends where it begins": end_stream_at_its_begin,
    "a stream under another name": splice,
    "a stream of one's own": insert_stream,
    "another first checkpoint": exchange_first_checkpoint,
    "no first checkpoint": partial(drop_checkpoint, place=0),
    "no second checkpoint": partial(drop_checkpoint, place=1),
    "it is no segment": without_after,
    "the segment of another period": of_another_period,
    "the shorter pack, shorter still": shorter_of_another_period,
}


def test_no_tampering_with_a_segment_is_taken_for_it(long_log: Path, tmp_path: Path) -> None:
    """One pack, and a copy of it for each tampering: to make a pack takes longest."""
    whole = segment(tmp_path)
    taken = {}
    for number, (name, tamper) in enumerate(sorted(SEGMENTS.items())):
        folder = tmp_path / f"copy-{number}"
        shutil.copytree(whole, folder)
        tamper(folder)
        code, said = verified(folder, long_log)
        # Damaged, and not only incomplete.
        if code != 1:
            taken[name] = said
    assert taken == {}
    assert verified(whole, long_log)[0] == 0


def test_a_review_that_never_was_is_not_proven_by_events_before_the_begin(
    review: Review, sink: Path, long_log: Path, tmp_path: Path
) -> None:
    folder = segment(tmp_path)
    head, *items = map(json.loads, (folder / file_of(review)).read_text().split("\n")[:-1])
    told = [json.loads(line["text"]) for line in lines_of_log(folder) if line["kind"] == "event"]
    steps = [each for each in told if each["action"].startswith("review.")]
    own = head | {"uuid": "0" * 31 + "1", "name": "Q3", "through": 200}
    name = f"review-{own['uuid']}.jsonl"
    (folder / name).write_text("".join(f"{canonical(line)}\n" for line in (own, *items)))
    record = json.loads(record_of(lines_of_log(folder))["text"])
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()}
    record["details"] = canonical(json.loads(record["details"]) | {"files": files, "reviews_through": 200})
    moved = [each | {"object_uuid": own["uuid"], "object_name": "Q3"} for each in steps]
    written(folder, before_begin(end_at_held(folder), *moved, record))
    code, said = verified(folder, long_log, files=(name,))
    assert code == 1, said
    assert "proven: file" not in said
    assert "proven: review" not in said


def test_the_log_of_another_period_verifies_its_own_pack_alone(long_log: Path, tmp_path: Path) -> None:
    longer, shorter = segment(tmp_path), segment(tmp_path, "other", days=50)
    for name in REPORTS:
        (shorter / name).write_bytes((longer / name).read_bytes())
    code, said = verified(shorter, long_log, pack=pack_numbers()[0])
    assert code == 1, said
    assert "exchanged: bundle: it begins after checkpoint" in said
    assert f"and the pack of event system #{pack_numbers()[0]} after checkpoint" in said


def test_retention_within_the_segment_lets_a_stream_begin_with_its_first_event(
    long_log: Path, tmp_path: Path, settings: Settings
) -> None:
    settings.KEEPER_AUDIT_ARCHIVE_DIR = str(tmp_path / "archive")
    (tmp_path / "archive").mkdir()
    prune(
        actor=actors.system(), before=timezone.now() - timedelta(days=95), bundle=tmp_path / "archive" / "b",
        operator="a test",
    )  # fmt: skip
    anchor_log(at_once=True)
    folder = segment(tmp_path)
    code, said = verified(folder, long_log)
    assert code == 0, said
