"""What retention is about to remove is proved to be in the bundle: each way in which it may not be is told."""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from audit_app.checkpoints.schedule import anchor_log
from audit_app.checkpoints.signing import signed
from audit_app.crypto.checkpoint_statement import SignedCheckpoint
from audit_app.errors import BadBundle
from audit_app.events import actors
from audit_app.models import Checkpoint
from audit_app.retention.bundles import bundle_until, require_whole
from audit_app.retention.prune import prune
from audit_app.tests.trail import STREAM, entries, write
from audit_app.verification.prune_records import PruneRecord, newest_prune_records

pytestmark = pytest.mark.django_db
Lines = list[dict[str, Any]]


@pytest.fixture
def covering(settings: Settings, tmp_path: Path) -> SignedCheckpoint:
    """Return a checkpoint over two streams, one of them with a list of what was read."""
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path / 'sink'}"]
    write(3)
    write(1, manifest=entries(2))
    write(2, stream="environment:b")
    assert anchor_log(at_once=True)
    return signed(Checkpoint.objects.get())


def lines_of(checkpoint: SignedCheckpoint) -> Lines:
    return [json.loads(line) for line in bundle_until(checkpoint)]


def check(
    lines: Lines, checkpoint: SignedCheckpoint, path: Path, cuts: Mapping[str, PruneRecord] | None = None
) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return require_whole(path, checkpoint=checkpoint, cuts=cuts or {})


def counted(lines: Lines) -> Lines:
    """Let the last line say what is in the bundle now."""
    end = lines[-1]
    for kind in end["counts"]:
        end["counts"][kind] = sum(line["kind"] == kind for line in lines)
    return lines


def where(lines: Lines, kind: str, **wanted: Any) -> list[int]:
    return [
        place
        for place, line in enumerate(lines)
        if line["kind"] == kind and all(line[name] == value for name, value in wanted.items())
    ]


def without(kind: str, which: int = -1, **wanted: Any) -> Callable[[Lines], object]:
    return lambda lines: lines.pop(where(lines, kind, **wanted)[which])


def swapped(lines: Lines) -> None:
    first, second, *_ = where(lines, "event", stream=STREAM)
    lines[first], lines[second] = lines[second], lines[first]


def doubled(lines: Lines) -> None:
    place = where(lines, "event", stream=STREAM)[1]
    lines.insert(place, lines[place])


def edited(lines: Lines) -> None:
    event = lines[where(lines, "event")[0]]
    event["text"] = event["text"].replace("alice", "mallo")


def moved(lines: Lines) -> None:
    lines[where(lines, "event")[0]]["stream"] = "environment:c"


def unsigned(lines: Lines) -> None:
    event = lines[where(lines, "event")[0]]
    event["mac"] = "00" * (len(event["mac"]) // 2)


def other_list(lines: Lines) -> None:
    lines[where(lines, "manifest")[0]]["read"][0][2] = "app/other"


def other_checkpoint(lines: Lines) -> None:
    line = lines[where(lines, "checkpoint")[0]]
    line["checkpoint"] = line["checkpoint"].replace("1", "2", 1)


WRONG: dict[str, tuple[Callable[[Lines], object], str]] = {
    "no last event": (without("event", stream=STREAM), "does not reach what the checkpoint names"),
    "no first event": (without("event", 0, stream=STREAM), "are missing"),
    "no events of a stream": (
        lambda lines: [lines.pop(place) for place in reversed(where(lines, "event", stream="environment:b"))],
        "does not reach what the checkpoint names",
    ),
    "events in another order": (swapped, "are missing"),
    "an event twice": (doubled, "are missing"),
    "an edited event": (edited, "is not what was recorded"),
    "an event of another stream": (moved, "is not what was recorded"),
    "an event that Keeper did not write": (unsigned, "is not what was recorded"),
    "no list": (without("manifest"), "lacks a manifest"),
    "another list": (other_list, "a manifest in the bundle is not what was recorded"),
    "no checkpoint": (without("checkpoint"), "does not end with the checkpoint"),
    "another checkpoint": (other_checkpoint, "does not end with the checkpoint"),
    "no end": (lambda lines: lines.pop(), "does not hold as much as it says"),
    "something behind the end": (lambda lines: lines.append(dict(lines[1])), "follows the end"),
    "a second end": (lambda lines: lines.append(dict(lines[-1])), "follows the end"),
    "no kind": (lambda lines: lines[1].pop("kind"), "a line that is none"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_whole_is_no_bundle(covering: SignedCheckpoint, tmp_path: Path, name: str) -> None:
    change, told = WRONG[name]
    lines = lines_of(covering)
    assert check(lines, covering, tmp_path / "b")
    change(lines)
    if lines[-1].get("kind") == "end" and not name.startswith(("a second", "no kind")):
        counted(lines)
    with pytest.raises(BadBundle, match=told):
        check(lines, covering, tmp_path / "b")


@pytest.mark.parametrize("kind", ["event", "manifest", "checkpoint"])
def test_it_holds_as_much_as_it_says(covering: SignedCheckpoint, tmp_path: Path, kind: str) -> None:
    lines = lines_of(covering)
    lines[-1]["counts"][kind] += 1
    with pytest.raises(BadBundle, match="as much as it says"):
        check(lines, covering, tmp_path / "b")


def test_its_hash_is_that_of_the_file(covering: SignedCheckpoint, tmp_path: Path) -> None:
    path = tmp_path / "b"
    told = check(lines_of(covering), covering, path)
    assert told == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(BadBundle, match="read back"):
        require_whole(tmp_path / "none", checkpoint=covering, cuts={})


def test_behind_a_cut_the_chain_goes_on_from_the_cut(
    covering: SignedCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = timezone.now() + timedelta(days=200)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    write(1, stream="environment:b")
    anchor_log(at_once=True)
    prune(
        actor=actors.system(),
        before=later - timedelta(days=100),
        bundle=tmp_path / "first",
        operator="a test",
    )
    write(2)
    assert anchor_log(at_once=True)
    newest = signed(Checkpoint.objects.order_by("number").last())  # type: ignore[arg-type]
    cuts = newest_prune_records()
    assert cuts[STREAM].through == 4
    lines = lines_of(newest)
    assert check(lines, newest, tmp_path / "b", cuts)
    # What the cut kept is proved by its MAC alone; behind it nothing may be missing.
    with pytest.raises(BadBundle, match="missing"):
        check(lines, newest, tmp_path / "b")
    behind = where(lines, "event", stream=STREAM)
    first_behind = next(place for place in behind if json.loads(lines[place]["text"])["sequence"] == 5)
    lines.pop(first_behind)
    with pytest.raises(BadBundle, match="missing"):
        check(counted(lines), newest, tmp_path / "b", cuts)


def test_a_bundle_holds_what_was_signed_and_nothing_later(covering: SignedCheckpoint, tmp_path: Path) -> None:
    before = lines_of(covering)
    write(1, manifest=entries(1))
    write(1, stream="environment:c")
    assert anchor_log(at_once=True)
    lines = lines_of(covering)
    assert [len(where(lines, kind)) for kind in ("checkpoint", "event")] == [
        len(where(before, kind)) for kind in ("checkpoint", "event")
    ]
    assert lines[0]["streams"] == before[0]["streams"]
    # Each list has its own entries.
    listed = [lines[place] for place in where(lines, "manifest")]
    assert sorted(len(each["read"]) for each in listed) == [1, 2]
    assert check(lines, covering, tmp_path / "b")
