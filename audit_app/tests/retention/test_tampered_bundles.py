"""Every kind of line is forged, dropped, doubled, moved, truncated and spliced: each is found or declared.

Each tampering is as strong as one without Keeper's keys can be: the counts of the last line are put right, and
where it says so the hashes of all that follows are computed anew.
"""

import copy
import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import transaction
from django.test import override_settings
from django.utils import timezone
from hypothesis import HealthCheck, example, given
from hypothesis import settings as property_settings
from hypothesis import strategies as st
from pytest_django import DjangoDbBlocker, Settings

from audit_app.checkpoints.schedule import anchor_log
from audit_app.checkpoints.signing import accept_rollback, signed
from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.interfaces import forget_keyring, keyring
from audit_app.models import Deployment, forget_deployment
from audit_app.retention.bundles import bundle
from audit_app.retention.prune import prune
from audit_app.tests.keyring import SIGNING_KEYS, ToyKeyring
from audit_app.tests.trail import STREAM, entries, write

# The tests ask no database; without this mark the suite makes none for the installations.
pytestmark = pytest.mark.django_db

SCRIPT = Path(__file__).resolve().parents[3] / "docs" / "verify_offline.py"
OTHER = "environment:b"
Lines = list[Any]
Place = Callable[[Lines], int]


def program() -> Any:
    spec = importlib.util.spec_from_file_location("verify_offline", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VERIFIER = program()


@dataclass(frozen=True)
class Installation:
    """What an auditor has of one: its export, what it sealed, a sink's file, a key, and two other histories."""

    export: Lines
    sealed: Lines
    sink: str
    key: str
    # The export as it was before the last checkpoint, and as it would be had other things happened since the first.
    before: Lines
    fork: Lines


def exported() -> Lines:
    return [json.loads(line) for line in bundle()]


@contextmanager
def days_ago(days: int) -> Iterator[None]:
    real = timezone.now
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.utils.timezone.now", lambda: real() - timedelta(days=days))
        yield


def made(folder: Path) -> Installation:
    """Record, sign, prune, change the key, and go on; the last events are not signed."""
    sink, archive = folder / "sink", folder / "archive"
    with override_settings(
        KEEPER_KEYRING="audit_app.tests.keyring.ToyKeyring",
        KEEPER_AUDIT_SINKS=[f"file:{sink}"],
        KEEPER_AUDIT_ARCHIVE_DIR=str(archive),
        KEEPER_INTEGRITY_CHECKS=[],
    ), pytest.MonkeyPatch.context() as patch:  # fmt: skip
        Deployment.objects.update_or_create(pk=1, defaults={"uuid": uuid4()})
        forget_deployment()
        with days_ago(200):
            write(4, details={"number": 1})  # 1-4: the last one is kept
            write(1, action=Action.SECRET_UPDATE, details={"number": 2, "version": "v"})  # 5
            write(3, action=Action.SIGN_IN)  # 6-8
            write(3, stream=OTHER, details={"number": 1})
            anchor_log(at_once=True)
        now = timezone.now()
        prune(
            actor=actors.system(), before=now - timedelta(days=100), bundle=archive / "b", operator="a test"
        )
        anchor_log(at_once=True)
        point = transaction.savepoint()
        write(4, details={"number": 7}, manifest=entries(2))
        write(4, stream=OTHER)
        fork = exported()
        transaction.savepoint_rollback(point)
        patch.setattr(ToyKeyring, "signing_key", SIGNING_KEYS[1])
        write(2, details={"number": 3})
        write(1, manifest=entries(3))
        write(1, manifest=entries(2))
        write(2, stream=OTHER)
        anchor_log(at_once=True)
        before = exported()
        write(3, details={"number": 4})
        anchor_log(at_once=True)
        write(3, details={"number": 5})
        with days_ago(-1):
            export = exported()
        (file,) = sink.glob("*.jsonl")
        sealed = [json.loads(line) for line in (archive / "b").read_text().splitlines()]
        key = keyring().public_keys()[SIGNING_KEYS[0]].hex()
        return Installation(export, sealed, file.read_text(), key, before, fork)


def forget() -> None:
    forget_keyring()
    forget_deployment()


@pytest.fixture(scope="module")
def installations(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> list[Installation]:
    """Make two installations, of which nothing stays in the database."""
    found = []
    with django_db_blocker.unblock():
        for _ in range(2):
            forget()
            outermost = transaction.atomic()
            # As that of a test: Keeper looks at it as if there were none.
            outermost._from_testcase = True  # type: ignore[attr-defined]
            with outermost:
                found.append(made(tmp_path_factory.mktemp("installation")))
                transaction.set_rollback(True)
    forget()
    return found


@pytest.fixture
def own(installations: list[Installation]) -> Installation:
    return copy.deepcopy(installations[0])


@pytest.fixture
def foreign(installations: list[Installation]) -> Installation:
    return copy.deepcopy(installations[1])


def canonical(line: Any) -> str:
    """Return a line as Keeper writes it, so that its content alone is what was tampered with."""
    return json.dumps(line, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def written(path: Path, lines: Lines) -> Path:
    text = (line if isinstance(line, str) else canonical(line) for line in lines)
    path.write_bytes("".join(f"{line}\n" for line in text).encode(errors="surrogatepass"))
    return path


class Means(TypedDict, total=False):
    """What the auditor brings."""

    sink: str
    key: str


def with_all(own: Installation) -> Means:
    return {"sink": own.sink, "key": own.key}


class Auditor:
    """Runs the program, with what was brought or without."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._folder, self._capture = folder, capture

    def verify(
        self, *bundles: Lines, sink: str | None = None, key: str | None = None, more: tuple[str, ...] = ()
    ) -> tuple[int, str]:
        paths = [str(written(self._folder / f"{number}", lines)) for number, lines in enumerate(bundles)]
        brought = [*(["--public-key", key] if key else []), *more]
        if sink is not None:
            (self._folder / "sink.jsonl").write_text(sink)
            brought += ["--checkpoint", str(self._folder / "sink.jsonl")]
        self._capture.readouterr()
        code = VERIFIER.main([*paths, *brought])
        said = self._capture.readouterr()
        return code, said.out + said.err


@pytest.fixture
def auditor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Auditor:
    return Auditor(tmp_path, capsys)


# Where a tampering is done.


def event(stream: str, sequence: int) -> Place:
    def place(lines: Lines) -> int:
        return next(
            index
            for index, line in enumerate(lines)
            if line.get("stream") == stream and json.loads(line["text"])["sequence"] == sequence
        )

    return place


def event_of(action: str) -> Place:
    return lambda lines: next(
        index for index, line in enumerate(lines) if f'"action":"{action}"' in line.get("text", "")
    )


def nth(kind: str, number: int) -> Place:
    return lambda lines: [index for index, line in enumerate(lines) if line["kind"] == kind][number]


PLACES: dict[str, Place] = {
    "header": nth("bundle", 0),
    "the first checkpoint": nth("checkpoint", 0),
    "a checkpoint under the first key": nth("checkpoint", 1),
    "the first checkpoint of the second key": nth("checkpoint", 2),
    "the newest checkpoint": nth("checkpoint", -1),
    "manifest": nth("manifest", 0),
    "the first event of the system": event("system", 1),
    "stream.open": event_of("stream.open"),
    "a kept event": event(STREAM, 5),
    "trail.prune": event_of("trail.prune"),
    "an event with a manifest": event(STREAM, 12),
    "an event below a head": event(STREAM, 11),
    "the event at a head": event(STREAM, 13),
    "the event at the newest head": event(STREAM, 16),
    "an event of another stream": event(OTHER, 5),
    "an event that is not signed": event(STREAM, 17),
    "the last event": event(STREAM, 19),
    "end": nth("end", 0),
}  # fmt: skip


# What is done there: each returns the tampered lines.


@dataclass(frozen=True)
class Tampering:
    """The lines as they were, where to tamper, and what can be spliced in."""

    lines: Lines
    at: int
    own: Installation
    foreign: Installation
    place: Place

    @property
    def line(self) -> Any:
        return self.lines[self.at]


def counted(lines: Lines) -> Lines:
    """Put the counts of the last line right."""
    end = next((line for line in lines if isinstance(line, dict) and line.get("kind") == "end"), None)
    if end:
        for kind in end["counts"]:
            end["counts"][kind] = sum(isinstance(line, dict) and line["kind"] == kind for line in lines)
    return lines


def chained(lines: Lines, stream: str, start: int) -> Lines:
    """Compute the numbers and hashes of a stream's events anew, from one of them on."""
    place = next(index for index, line in enumerate(lines) if index >= start and line.get("stream") == stream)
    earlier = [line for line in lines[:place] if line.get("stream") == stream]
    previous = earlier[-1]["hash"] if earlier else lines[place]["previous"]
    number = json.loads(earlier[-1]["text"])["sequence"] + 1 if earlier else 1
    for line in lines[place:]:
        if line.get("stream") == stream:
            said = json.loads(line["text"]) | {"sequence": number, "stream": stream}
            line["text"] = json.dumps(said, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
            line["previous"] = previous
            line["hash"] = previous = hashlib.sha256(
                bytes.fromhex(previous) + line["text"].encode()
            ).hexdigest()
            number += 1
    return lines


def drop(t: Tampering) -> Lines:
    return counted([*t.lines[: t.at], *t.lines[t.at + 1 :]])


def drop_and_chain(t: Tampering) -> Lines:
    if t.line["kind"] != "event" or not any(
        line.get("stream") == t.line["stream"] for line in t.lines[t.at + 1 :]
    ):
        return drop(t)
    return chained(drop(t), t.line["stream"], t.at)


def duplicate(t: Tampering) -> Lines:
    return counted([*t.lines[: t.at], copy.deepcopy(t.line), *t.lines[t.at :]])


def duplicate_and_chain(t: Tampering) -> Lines:
    lines = copy.deepcopy(duplicate(t))
    return chained(lines, t.line["stream"], t.at) if t.line["kind"] == "event" else lines


def move(t: Tampering) -> Lines:
    other = t.at + 1 if t.at + 1 < len(t.lines) else t.at - 1
    if t.lines[other]["kind"] != t.line["kind"]:
        other = max(t.at - 1, 0) if t.at else 1
    t.lines[t.at], t.lines[other] = t.lines[other], t.lines[t.at]
    return t.lines


def truncate_line(t: Tampering) -> Lines:
    text = json.dumps(t.line)
    return [*t.lines[: t.at], text[: len(text) // 2], *t.lines[t.at + 1 :]]


def truncate_rest(t: Tampering) -> Lines:
    """Drop this line and all that follows it."""
    return t.lines[: t.at]


def truncate_kind(t: Tampering) -> Lines:
    """Drop this line and what follows it of its kind and stream."""

    def is_same(line: Any) -> bool:
        return bool(line["kind"] == t.line["kind"]) and line.get("stream") == t.line.get("stream")

    return counted([*t.lines[: t.at], *(line for line in t.lines[t.at :] if not is_same(line))])


def forge(t: Tampering) -> Lines:
    """Change what the line says, and nothing else."""
    line = t.line
    if line["kind"] == "event":
        line["text"] = line["text"].replace('"outcome":"allowed"', '"outcome":"denied"')
    elif line["kind"] == "manifest":
        line["read"][0][2] = "app/other"
    elif line["kind"] == "checkpoint":
        said = json.loads(line["checkpoint"])
        said["heads"][STREAM][1] = "ab" * 32
        line["checkpoint"] = json.dumps(said, separators=(",", ":"), sort_keys=True)
    elif line["kind"] == "end":
        line["counts"]["event"] += 1
    else:
        line["deployment"] = str(UUID(int=9))
    return t.lines


def forge_and_chain(t: Tampering) -> Lines:
    line = t.line
    if line["kind"] == "event":
        return chained(forge(t), line["stream"], t.at)
    if line["kind"] == "manifest":
        forge(t)
        text = json.dumps(line["read"], separators=(",", ":"), ensure_ascii=False)
        line["digest"] = hashlib.sha256(text.encode()).hexdigest()
    if line["kind"] == "checkpoint":
        forge(t)
        sign(line)
    if line["kind"] == "bundle":
        line["whole"], line["streams"] = False, []
    return t.lines


def sign(line: Any, **changed: Any) -> None:
    """Sign a checkpoint by the attacker's own key."""
    key = Ed25519PrivateKey.from_private_bytes(b"a" * 32)
    said = (
        json.loads(line["checkpoint"]) | {"public_key": key.public_key().public_bytes_raw().hex()} | changed
    )
    line["checkpoint"] = json.dumps(said, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(line["checkpoint"].encode()).digest()
    line["signature"] = key.sign(b"keeper/v1/checkpoint" + digest).hex()


def splice(source: Callable[[Tampering], Lines]) -> Callable[[Tampering], Lines]:
    def spliced(t: Tampering) -> Lines:
        found = source(t)
        try:
            line = found[t.place(found)]
        except (IndexError, StopIteration):
            line = next(each for each in reversed(found) if each["kind"] == t.line["kind"])
        t.lines[t.at] = line
        return counted(t.lines)

    return spliced


def insert_foreign(t: Tampering) -> Lines:
    line = next(each for each in t.foreign.export if each["kind"] == t.line["kind"])
    return counted([*t.lines[: t.at], line, *t.lines[t.at :]])


def splice_another_stream(t: Tampering) -> Lines:
    if t.line["kind"] != "event":
        return insert_foreign(t)
    other = OTHER if t.line["stream"] == STREAM else STREAM
    line = copy.deepcopy(next(each for each in t.lines if each.get("stream") == other))
    line["stream"] = t.line["stream"]
    t.lines[t.at] = line
    return t.lines


def splice_and_chain(t: Tampering) -> Lines:
    lines = splice_another_stream(t)
    return chained(lines, t.line["stream"], t.at) if t.line["kind"] == "event" else lines


OPERATIONS = {
    "drop": drop,
    "drop and chain anew": drop_and_chain,
    "duplicate": duplicate,
    "duplicate and chain anew": duplicate_and_chain,
    "move": move,
    "truncate the line": truncate_line,
    "truncate the bundle": truncate_rest,
    "truncate its kind": truncate_kind,
    "forge": forge,
    "forge and chain anew": forge_and_chain,
    "splice another installation": splice(lambda t: t.foreign.export),
    "insert from another installation": insert_foreign,
    "splice another time": splice(lambda t: t.own.before),
    "splice another history": splice(lambda t: t.own.fork),
    "splice another stream": splice_another_stream,
    "splice and chain anew": splice_and_chain,
}

UNSIGNED = "the order of streams and manifests are not signed"
NEWER = "are newer than what is signed and do not count"
MAY_LACK = "may be missing: you brought no later one"
SET_BACK = "an audit log set back as a whole looks like this"
SURPLUS = "manifests are named by no event, and do not count"
COVERED = "and lacks no event that checkpoint 4, held elsewhere, names"
UNPINNED = "No public key was pinned: anybody may have signed"

# What cannot be found, by place and operation, with and without what the auditor brings, and the words for it.
HEADER = {"forge and chain anew", "splice another time", "splice another history"}
DROPPED = {"drop", "drop and chain anew", "truncate its kind"}
ADDED = {"insert from another installation", "splice another stream", "splice and chain anew"}
CHAINED = {
    "drop and chain anew", "duplicate and chain anew", "forge and chain anew", "splice and chain anew"
}  # fmt: skip
LIMITS: list[tuple[set[str], set[str], list[str] | None, list[str] | None]] = [
    ({"header"}, HEADER, [UNSIGNED], [UNSIGNED]),
    ({"manifest"}, {"move"}, [UNSIGNED], [UNSIGNED]),
    ({"manifest"}, ADDED, [SURPLUS], [SURPLUS]),
    # The checkpoint that the auditor holds covers what those of the bundle covered.
    ({"the newest checkpoint"}, DROPPED, [COVERED], [NEWER, SET_BACK, UNPINNED]),
    ({"the first checkpoint of the second key"}, {"truncate its kind"}, [COVERED], [NEWER, SET_BACK]),
    ({"the first checkpoint", "a checkpoint under the first key"}, {"truncate its kind"}, [COVERED], None),
    ({"an event that is not signed", "the last event"}, CHAINED, [NEWER, MAY_LACK], [NEWER, SET_BACK]),
    ({"the last event"}, {"drop", "truncate its kind"}, [NEWER, MAY_LACK], [NEWER, SET_BACK]),
    ({"an event that is not signed"}, {"truncate its kind"}, [MAY_LACK], [SET_BACK]),
    ({"the event at the newest head"}, {"duplicate and chain anew"}, [NEWER], [NEWER, UNPINNED]),
    ({"the last event"}, {"move"}, [UNSIGNED], [UNSIGNED]),
]


def limits(place: str, operation: str, *, brought: bool) -> list[str] | None:
    """Return the words that declare a tampering that cannot be found; None for one that must be."""
    for places, operations, with_all, with_nothing in LIMITS:
        if place in places and operation in operations:
            return with_all if brought else with_nothing
    return None


@pytest.mark.parametrize("brought", [True, False], ids=["with key and checkpoint", "with nothing"])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("place", PLACES)
def test_a_tampering_is_found_or_declared(
    own: Installation, foreign: Installation, auditor: Auditor, place: str, operation: str, brought: bool
) -> None:
    lines, where = own.export, PLACES[place]
    untouched = copy.deepcopy(lines)
    tampering = Tampering(lines=lines, at=where(lines), own=own, foreign=foreign, place=where)
    tampered = OPERATIONS[operation](tampering)
    means = with_all(own) if brought else Means()
    code, said = auditor.verify(tampered, **means)
    if tampered == untouched:
        assert code == 0
        return
    declared = limits(place, operation, brought=brought)
    assert (code != 0) == (declared is None), said
    for words in declared or ():
        assert words in said


def test_what_was_not_tampered_with_is_sound(own: Installation, auditor: Auditor) -> None:
    for means in (with_all(own), Means(key=own.key), Means(sink=own.sink), Means()):
        code, said = auditor.verify(own.export, **means)
        assert code == 0, said


# Attacks on more than one line.


def prune_record(own: Installation, **changed: Any) -> Any:
    """Return an event that claims a cut, as the first one that no head signs."""
    line = copy.deepcopy(own.export[event(STREAM, 17)(own.export)])
    said = json.loads(line["text"])
    said |= {"action": "trail.prune", "details": json.dumps(changed)}
    line["text"] = json.dumps(said, separators=(",", ":"), sort_keys=True)
    line["hash"] = hashlib.sha256(bytes.fromhex(line["previous"]) + line["text"].encode()).hexdigest()
    return line


@pytest.mark.parametrize("brought", [True, False])
@pytest.mark.parametrize("after", [0, 8])
def test_a_cut_that_no_signed_head_covers_takes_nothing_out(
    own: Installation, auditor: Auditor, after: int, brought: bool
) -> None:
    through = own.export[event(STREAM, 12)(own.export)]
    digest = hashlib.sha256(b"keeper/v1/kept-events").hexdigest()
    forged = prune_record(own, after=after, through=12, hash=through["hash"], kept=0, digest=digest)
    gone = [
        line
        for line in own.export
        if line.get("stream") == STREAM and after < json.loads(line["text"])["sequence"] <= 12
    ]
    tail = [line for line in own.export if line.get("stream") == STREAM][-3:]
    lines = [line for line in own.export if line not in gone and line not in tail]
    lines.insert(event(STREAM, 16)(lines) + 1, forged)
    code, said = auditor.verify(counted(lines), **(with_all(own) if brought else Means()))
    assert code == 1
    assert f"missing: event {STREAM} #" in said


def test_a_line_cut_excuses_nothing(own: Installation, auditor: Auditor) -> None:
    """As in format 1, where one forged line took out, rewrote or invented any event."""
    own.export[0]["format"] = "keeper-audit-bundle/1"
    del own.export[0]["begins"], own.export[0]["as_of"]
    own.export[-1]["counts"]["cut"] = 0
    place = event(STREAM, 12)(own.export)
    link, kept = own.export[place]["hash"], hashlib.sha256(b"keeper/v1/kept-events").hexdigest()
    line = {
        "kind": "cut",
        "stream": STREAM,
        "sequence": 99,
        "after": 0,
        "through": 12,
        "hash": link,
        "kept": 0,
    }
    gone = [
        each
        for each in own.export
        if each.get("stream") == STREAM and json.loads(each["text"])["sequence"] <= 12
    ]
    lines = [each for each in own.export if each not in gone]
    lines.insert(1, line | {"digest": kept})
    code, said = auditor.verify(counted(lines), sink=own.sink, key=own.key)
    assert code == 3, said
    assert f"incomplete: stream {STREAM}: the bundle begins after event 12" in said
    own.export.insert(1, line | {"digest": kept, "through": 8})
    assert auditor.verify(counted(own.export), sink=own.sink, key=own.key)[0] == 0


def resigned(own: Installation) -> Lines:
    """Rewrite the history under the attacker's own key."""
    lines = chained(
        forge(Tampering(own.export, event(STREAM, 11)(own.export), own, own, nth("event", 0))), STREAM, 0
    )
    previous = "00" * 32
    for line in lines:
        if line["kind"] == "checkpoint":
            heads = json.loads(line["checkpoint"])["heads"]
            # The old events below the cut are as they were: they are not in this bundle.
            for stream, (sequence, _) in heads.items():
                found = [each["hash"] for each in lines if each.get("stream") == stream
                         and json.loads(each["text"])["sequence"] == sequence]  # fmt: skip
                heads[stream] = [sequence, *(found or [heads[stream][1]])]
            sign(line, previous=previous, heads=heads, succession=None)
            previous = hashlib.sha256(line["checkpoint"].encode()).hexdigest()
    return lines


def test_a_history_under_another_key_is_found_or_declared(own: Installation, auditor: Auditor) -> None:
    lines = resigned(copy.deepcopy(own))
    assert auditor.verify(lines, key=own.key)[0] == 1
    assert auditor.verify(lines, sink=own.sink)[0] == 1


def test_a_whole_history_under_another_key_is_declared(
    own: Installation, foreign: Installation, auditor: Auditor
) -> None:
    """Another installation is sound as itself; only what was brought tells that it is another."""
    code, said = auditor.verify(foreign.export)
    assert code == 0
    assert UNPINNED in said
    code, said = auditor.verify(foreign.export, sink=own.sink, key=own.key)
    assert code == 1
    assert "it is of another deployment" in said


def test_a_stream_that_was_dropped_is_named(own: Installation, auditor: Auditor) -> None:
    lines = counted([line for line in own.export if line.get("stream") != OTHER])
    lines[0] |= {"whole": False, "streams": [STREAM, "system"]}
    for means in (with_all(own), Means()):
        code, said = auditor.verify(lines, **means)
        assert code == 3
        assert f"incomplete: stream {OTHER}: checkpoint 4 names it, and the bundle has no event of it" in said
    more = ("--stream", STREAM, "--stream", "system")
    assert auditor.verify(lines, sink=own.sink, key=own.key, more=more)[0] == 0
    code, said = auditor.verify(lines, more=("--stream", OTHER))
    assert (code, f"incomplete: stream {OTHER}" in said) == (3, True)


def test_a_bundle_without_a_signed_event_proves_nothing(own: Installation, auditor: Auditor) -> None:
    lines = counted([line for line in own.export if line["kind"] in {"bundle", "end"}])
    lines[0] |= {"whole": False, "streams": []}
    code, said = auditor.verify(lines)
    assert (code, "it proves nothing" in said) == (3, True)
    lines = counted([line for line in own.before if line["kind"] != "checkpoint"])
    assert auditor.verify(lines)[0] == 1, "nothing signs the cut"


# The order in which export and checkpoint are fetched.


def test_an_export_before_the_checkpoint_is_older_and_not_set_back(
    own: Installation, auditor: Auditor
) -> None:
    code, said = auditor.verify(own.before, sink=own.sink, key=own.key)
    assert code == 3
    assert "rewound" not in said
    assert f"incomplete: stream {STREAM}: events 14 to 16, which checkpoint 4, held elsewhere, names." in said
    assert "Fetch the checkpoint first, then export" in said


def test_an_export_of_a_log_that_was_set_back_is_rewound(own: Installation, auditor: Auditor) -> None:
    own.before[0]["as_of"] = own.export[0]["as_of"]
    code, said = auditor.verify(own.before, sink=own.sink, key=own.key)
    assert code == 1
    assert "rewound: checkpoint 4, held elsewhere: the bundle ends with checkpoint 3" in said


def test_the_highest_number_of_a_sink_counts(own: Installation, auditor: Auditor) -> None:
    first, *rest = own.sink.splitlines()
    mixed = "\n".join([*rest, first, '{"checkpoint": "torn'])
    assert auditor.verify(own.export, sink=mixed, key=own.key)[0] == 0
    assert auditor.verify(own.before, sink=mixed, key=own.key)[0] == 3


# What retention sealed.


def test_what_was_sealed_and_the_export_are_verified_together(own: Installation, auditor: Auditor) -> None:
    code, said = auditor.verify(own.sealed, own.export, sink=own.sink, key=own.key)
    assert code == 0, said
    assert auditor.verify(own.sealed, sink=own.sink.splitlines()[0], key=own.key)[0] == 0


def begun_later(own: Installation) -> Lines:
    """Return the export as a bundle that begins where the sealed one ended."""
    heads = json.loads(own.sealed[1]["checkpoint"])["heads"]
    own.export[0]["begins"] = {stream: sequence for stream, (sequence, _) in heads.items()}
    return counted(
        [
            line
            for line in own.export
            if line["kind"] != "event" or json.loads(line["text"])["sequence"] > heads[line["stream"]][0]
        ]
    )


def test_a_bundle_that_begins_later_needs_the_one_before(own: Installation, auditor: Auditor) -> None:
    lines, means = begun_later(own), with_all(own)
    code, said = auditor.verify(lines, **means)
    assert code == 3
    assert f"incomplete: stream {STREAM}: the bundle begins after event 8" in said
    code, said = auditor.verify(own.sealed, lines, **means)
    assert code == 0, said


def test_an_event_before_the_begin_is_none_of_the_bundle(own: Installation, auditor: Auditor) -> None:
    """Genuine or invented: no signed head of this bundle covers it."""
    kept, lines = own.export[event(STREAM, 4)(own.export)], begun_later(own)
    invented = copy.deepcopy(kept)
    invented["text"] = kept["text"].replace("environment:a", STREAM).replace('"allowed"', '"failed"')
    invented["hash"] = hashlib.sha256(bytes.fromhex(kept["previous"]) + invented["text"].encode()).hexdigest()
    for line in (kept, invented):
        tampered = copy.deepcopy(lines)
        tampered.insert(event(STREAM, 9)(tampered), line)
        for bundles in ((tampered,), (own.sealed, tampered)):
            code, said = auditor.verify(*bundles[:-1], counted(bundles[-1]), sink=own.sink, key=own.key)
            assert (code, f"inserted: event {STREAM} #4" in said) == (1, True), said


@pytest.mark.parametrize("operation", ["drop", "forge", "forge and chain anew", "move", "truncate its kind"])
def test_a_tampered_bundle_before_helps_nothing(own: Installation, auditor: Auditor, operation: str) -> None:
    lines = begun_later(own)
    place = event(STREAM, 3)
    tampering = Tampering(own.sealed, place(own.sealed), own, own, place)
    sealed = OPERATIONS[operation](tampering)
    assert auditor.verify(sealed, lines, sink=own.sink, key=own.key)[0] == 1


def test_a_gap_between_two_bundles_is_found(own: Installation, auditor: Auditor) -> None:
    lines = begun_later(own)
    del lines[event(STREAM, 9)(lines)]
    lines[0]["begins"][STREAM] = 9
    code, said = auditor.verify(own.sealed, counted(lines), sink=own.sink, key=own.key)
    assert (code, f"incomplete: stream {STREAM}: the bundle begins after event 9" in said) == (3, True)


# A restored database that an operator let go on.


@pytest.fixture
def resumed(tmp_path: Path, settings: Settings) -> tuple[Lines, str]:
    """Set a trail back by one checkpoint, and resume it; return the export and the sink's file."""
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path / 'sink'}"]
    write(3)
    anchor_log(at_once=True)
    point = transaction.savepoint()
    write(2)
    anchor_log(at_once=True)
    transaction.savepoint_rollback(point)
    accept_rollback(actor=actors.system(), reason="a restore")
    write(1)
    anchor_log(at_once=True)
    (file,) = (tmp_path / "sink").glob("*.jsonl")
    return exported(), file.read_text()


def test_a_checkpoint_that_was_left_behind_binds_nothing(
    resumed: tuple[Lines, str], auditor: Auditor
) -> None:
    lines, sink = resumed
    assert [json.loads(line["checkpoint"])["number"] for line in lines if line["kind"] == "checkpoint"] == [
        1,
        3,
    ]
    left_behind = "\n".join(sink.splitlines()[:2])
    for held in (sink, left_behind):
        code, said = auditor.verify(lines, sink=held)
        assert code == 0, said
    assert "The audit log continues without checkpoint 2: an operator resumed it" in said


def test_a_checkpoint_before_a_resumption_is_missed(resumed: tuple[Lines, str], auditor: Auditor) -> None:
    lines, sink = resumed
    place = nth("checkpoint", 0)(lines)
    code, said = auditor.verify(counted([*lines[:place], *lines[place + 1 :]]), sink=sink)
    assert (code, "says that checkpoint 1 was the last before it" in said) == (1, True), said


def test_only_a_signed_checkpoint_leaves_another_behind(resumed: tuple[Lines, str], auditor: Auditor) -> None:
    lines, sink = resumed
    line = lines[nth("checkpoint", 1)(lines)]
    left_behind = "\n".join(sink.splitlines()[:2])
    for changed in ({"resumed": False}, {"previous": "ab" * 32}):
        tampered = copy.deepcopy(lines)
        sign(tampered[nth("checkpoint", 1)(lines)], **changed)
        assert auditor.verify(tampered, sink=left_behind)[0] == 1
    lines.remove(line)
    code, said = auditor.verify(counted(lines), sink=left_behind)
    assert (code, f"forked: event {STREAM} #4" in said or "incomplete" in said) in {(1, True), (3, True)}, (
        said
    )


# A segment, whose first checkpoint another key signed than the auditor wrote down.


def test_a_segment_after_a_change_of_the_key_needs_what_spoke_for_it(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, auditor: Auditor
) -> None:
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path / 'sink'}"]
    old, new = (keyring().public_keys()[key].hex() for key in SIGNING_KEYS[:2])
    write(2)
    anchor_log(at_once=True)
    monkeypatch.setattr(ToyKeyring, "signing_key", SIGNING_KEYS[1])
    stored = []
    for _ in range(3):
        write(2)
        stored.append(anchor_log(at_once=True))
    assert stored[1]
    # The checkpoint before tells that the old key speaks for the new one.
    lines = [json.loads(line) for line in bundle(after=signed(stored[1]))]
    (file,) = (tmp_path / "sink").glob("*.jsonl")
    sink = file.read_text().split("\n")[:-1]
    more = ("--since", (timezone.now() + timedelta(days=2)).date().isoformat())
    for held, key, expected in (
        (sink, old, 0), (sink[-1:], new, 0), (sink[:1], old, 3), (sink[-1:], old, 3), (sink[-1:], "11" * 32, 3),
    ):  # fmt: skip
        code, said = auditor.verify(lines, sink="\n".join(held), key=key, more=more)
        assert code == expected, said
        assert ("no key that you trust has signed it" in said) == (expected == 3)
    # A key of nobody within the segment is none that followed.
    rest = [line for line in lines if line["kind"] == "checkpoint"][1:]
    sign(rest[0])
    assert auditor.verify(lines, sink="\n".join(sink), key=old, more=more)[0] == 1


# Garbage.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b"x", b"\xff", b"null\n", b'{"kind": "bundle"}', b"[" * 100_000, b"1" * 5_000,
     b'{"kind": "bundle", "format": "keeper-audit-bundle/2", "deployment": 5, "whole": true, "streams": []}',
     b'{"kind": "lines"}', b'{"kind": ["event"]}'],
)  # fmt: skip
def test_garbage_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], own: Installation, text: bytes
) -> None:
    file = tmp_path / "garbage"
    file.write_bytes(text)
    assert VERIFIER.main([str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"cannot be read: {file}: ")
    bundle = written(tmp_path / "bundle", own.export)
    assert VERIFIER.main([str(bundle), "--checkpoint", str(file)]) == 2
    assert capsys.readouterr().err == f"cannot be read: {file}: it holds no checkpoint\n"


def test_what_is_no_file_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert VERIFIER.main([str(tmp_path)]) == 2
    assert VERIFIER.main([str(tmp_path / "none")]) == 2
    said = capsys.readouterr().err
    assert "Is a directory" in said
    assert "No such file or directory" in said


def test_no_name_moves_the_cursor(own: Installation, auditor: Auditor) -> None:
    line = own.export[event(STREAM, 11)(own.export)]
    own.export.insert(-1, line | {"stream": "\x1b[2J0 problems\n\u202e"})
    code, said = auditor.verify(counted(own.export))
    assert code == 1
    assert "\x1b" not in said
    assert "stream \\u001b[2J0 problems\\u000a\\u202e" in said


@property_settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(place=st.sampled_from(sorted(PLACES)), field=st.integers(0, 20), value=JSON, inside=st.booleans())
@example(place="the newest checkpoint", field=4, value=2**70, inside=True)
@example(place="trail.prune", field=7, value='{"after": -1}', inside=True)
@example(place="the event at a head", field=1, value="\ud800", inside=False)
@example(place="header", field=2, value=None, inside=False)
@example(place="end", field=0, value={"event": -1}, inside=False)
def test_no_value_in_any_field_is_an_error_of_python(
    own: Installation, auditor: Auditor, place: str, field: int, value: Any, inside: bool
) -> None:
    lines = copy.deepcopy(own.export)
    line = lines[PLACES[place](lines)]
    text = next((name for name in ("checkpoint", "text") if name in line), None)
    target = json.loads(line[text]) if inside and text else line
    target[sorted(target)[field % len(target)]] = value
    if inside and text:
        line[text] = json.dumps(target)
    code, said = auditor.verify(lines, sink=own.sink, key=own.key)
    assert "Traceback" not in said
    # What changes no verdict is what is not signed: a name in the header, the MAC, the last events.
    if code == 0 and lines != own.export:
        assert place in {"header", "an event that is not signed", "the last event"} or "mac" in line
