#!/usr/bin/env python3
"""Verifies bundles of Keeper's audit log, without Keeper: `keeper audit-export FILE` writes one.

    python verify_offline.py BUNDLE... --public-key HEX --checkpoint FILE

One rule decides: **a line counts only if a signed head covers it.** A signed head is the hash of an event
that a checkpoint names under a trusted key. It covers that event and every event that its hash includes. A
line that no signed head covers can add a problem, and can never excuse one.

What is trusted is what you bring:

  --public-key   a signing key that was written down elsewhere (`keeper checkpoint --public-keys`); repeatable
  --checkpoint   what a sink holds, fetched by you and not by Keeper, *before* the export; the highest number
                 in the file counts
  --stream       the streams that you asked `keeper audit-export` for; by default, all

Several bundles are verified in their order: what retention sealed, oldest first, and then the export. A
bundle that begins after another one's end is complete only together with that one.

Exit codes: 0 sound, 1 damaged, 2 a file cannot be read, 3 incomplete: nothing contradicts what is signed, but
not all of it is there. The last lines state what was not proven. Needs Python 3.10 and `cryptography`.
"""

import argparse
import hashlib
import io
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    sys.exit("This program needs the Python package cryptography: install it, for instance by pip.")

FORMATS = ("keeper-audit-bundle/1", "keeper-audit-bundle/2")
GENESIS = "00" * 32
SYSTEM = "system"
LONGEST_LINE = 256 * 1024 * 1024
HASH, SIGNATURE = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{128}")
# Between the time in a checkpoint and its row: an export of that moment lacks it, and nothing was set back.
SIGNING_TAKES = timedelta(minutes=5)
SOUND, DAMAGED, UNREADABLE, INCOMPLETE = range(4)

Line = dict[str, Any]
# A kind, the event or 0 for the whole stream, and words.
Damage = tuple[str, int, str]


class Unreadable(Exception):
    """A file is not what it should be."""


class Head(NamedTuple):
    """The last event of a stream as a checkpoint names it."""

    sequence: int
    link: str
    checkpoint: int


class Cut(NamedTuple):
    """What retention removed, as an event `trail.prune` of the stream records it."""

    sequence: int
    after: int
    through: int
    link: str
    kept: int
    digest: str


class Checkpoint:
    """A signed statement of the heads of all streams."""

    def __init__(self, line: Line) -> None:
        text, signature = line.get("checkpoint"), line.get("signature")
        if not isinstance(text, str) or not matches(SIGNATURE, signature):
            raise Unreadable("a checkpoint lacks its text or its signature")
        said = parsed(text)
        self.signature = bytes.fromhex(str(signature))
        self.digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        try:
            self.number, self.resumed, self.key = said["number"], said["resumed"], said["public_key"]
            self.previous, self.at = said["previous"], datetime.fromisoformat(said["at"])
            self.deployment, self.key_id = UUID(said["deployment"]), UUID(said["key"])
            heads = {name: Head(at, link, self.number) for name, (at, link) in said["heads"].items()}
            word = said["succession"]
            self.succession = bytes.fromhex(word["signature"]) if word else b""
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Unreadable("a checkpoint does not hold what Keeper signs") from error
        self.heads: dict[str, Head] = heads
        sound = is_number(self.number) and isinstance(self.resumed, bool) and self.at.tzinfo is not None
        if not sound or not matches(HASH, self.key) or not matches(HASH, self.previous):
            raise Unreadable("a checkpoint does not hold what Keeper signs")
        if not all(is_number(head.sequence) and matches(HASH, head.link) for head in heads.values()):
            raise Unreadable("a checkpoint names a head that is none")

    def is_signed(self) -> bool:
        """Return whether the key that it names has signed it."""
        return verifies(self.key, b"keeper/v1/checkpoint" + bytes.fromhex(self.digest), self.signature)

    def is_vouched_for(self, by: str) -> bool:
        """Return whether an older key has signed this one as its successor."""
        said = b"keeper/v1/checkpoint-key" + self.deployment.bytes + self.key_id.bytes
        return bool(self.succession) and verifies(by, said + bytes.fromhex(self.key), self.succession)


class Brought(NamedTuple):
    """What the auditor brings: trusted keys, a checkpoint held elsewhere, the streams that were exported."""

    keys: frozenset[str]
    # What a file of a sink holds, by number; the last one is what the bundle must reach.
    held: list[Checkpoint]
    streams: frozenset[str] | None


def verifies(public_key: str, message: bytes, signature: bytes) -> bool:
    """Return whether an Ed25519 signature is valid."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def hashed(previous: str, text: str) -> str:
    """Return the hash of an event with this text after the event with that hash."""
    # Keeper records no lone surrogate; such a text has a hash of its own, which no signed head names.
    return hashlib.sha256(bytes.fromhex(previous) + text.encode(errors="surrogatepass")).hexdigest()


def parsed(text: str) -> Line:
    """Return a JSON object. Raises Unreadable if the text is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("it is no JSON") from error
    if not isinstance(found, dict):
        raise Unreadable("it is no JSON object")
    return found


def matches(pattern: re.Pattern[str], value: object) -> bool:
    """Return whether a value is a text of this form."""
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def is_number(value: object) -> bool:
    """Return whether a value is a whole number that Keeper can count."""
    return type(value) is int and 0 <= value < 2**63


def shown(text: str) -> str:
    """Return a text without what would move a terminal's cursor."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def event_fields(text: str) -> Line | None:
    """Return an event's fields; None if Keeper records no such text."""
    try:
        said = parsed(text)
    except Unreadable:
        return None
    names = ("stream", "action", "object_name", "details")
    sound = is_number(said.get("sequence")) and all(isinstance(said.get(name), str) for name in names)
    return said if sound and (said.get("manifest") is None or matches(HASH, said["manifest"])) else None


def cut_of(said: Line) -> Cut | None:
    """Return the cut that an event records, if it records one."""
    try:
        details = parsed(said["details"])
    except Unreadable:
        return None
    if not all(is_number(details.get(name)) for name in ("after", "through", "kept")):
        return None
    if not all(matches(HASH, details.get(name)) for name in ("hash", "digest")):
        return None
    cut = Cut(
        said["sequence"],
        details["after"],
        details["through"],
        details["hash"],
        details["kept"],
        details["digest"],
    )
    return cut if cut.after < cut.through < cut.sequence else None


class Stream:
    """Where the walk along one stream has come to."""

    def __init__(self, name: str, cuts: list[Cut], begins: int, genesis: str) -> None:
        self.name, self.cuts, self.begins = name, cuts, begins
        # Up to here there are only events that retention kept.
        self.through = begins or (cuts[-1].through if cuts else 0)
        self.sequence, self.link = self.through, "" if begins else (cuts[-1].link if cuts else genesis)
        self.damage: Damage | None = None
        self.digests = [hashlib.sha256(b"keeper/v1/kept-events") for _ in cuts]
        self.kept = [0] * len(cuts)
        self.last_kept = self.uncovered = 0
        # Of a bundle that begins later: the hash before its first event, empty if it has none.
        self.first = ""
        self.is_chained = False

    def take_kept(self, sequence: int, line: Line, named: Head | None) -> None:
        """Add an event that a cut kept to the digest of that cut."""
        if sequence <= self.last_kept:
            self.damage = ("reordered", sequence, "the event is listed twice, or in another place")
        elif hashed(line["previous"], line["text"]) != line["hash"]:
            self.damage = ("edited", sequence, "the event is not the one that was recorded")
        elif named and named.link != line["hash"]:
            self.damage = ("forked", sequence, f"checkpoint {named.checkpoint} names another event")
        self.last_kept = sequence
        if self.begins:
            self.uncovered += 1
            return
        place = next(place for place, cut in enumerate(self.cuts) if sequence <= cut.through)
        self.digests[place].update(sequence.to_bytes(8, "big") + bytes.fromhex(line["hash"]))
        self.kept[place] += 1

    def end_kept(self) -> None:
        """Compare the kept events with what the cuts recorded, at the first event after them."""
        self.is_chained, last = True, 0
        for cut, digest, count in zip(self.cuts, self.digests, self.kept, strict=True):
            if self.begins or self.damage:
                return
            if cut.after != last:
                self.damage = ("missing", last + 1, "the record of a cut is missing")
            elif digest.hexdigest() != cut.digest:
                kind = "missing" if count < cut.kept else "inserted"
                self.damage = (kind, last + 1, f"the cut kept {cut.kept} events, and these are not those")
            last = cut.through

    def take(self, said: Line, line: Line, named: Head | None) -> None:
        """Continue the chain by an event."""
        number, expected = said["sequence"], self.sequence + 1
        if self.begins and not self.link:
            self.link = self.first = line["previous"]
        if number > expected:
            self.damage = ("missing", expected, f"events {expected} to {number - 1} are missing")
        elif number < expected or said["stream"] != self.name:
            self.damage = ("reordered", expected, "an event is listed here that belongs elsewhere")
        elif line["previous"] != self.link or hashed(self.link, line["text"]) != line["hash"]:
            self.damage = (
                "edited",
                expected,
                "it is not the event that was recorded, or belongs elsewhere",
            )
        elif named and named.link != line["hash"]:
            self.damage = ("forked", expected, f"checkpoint {named.checkpoint} names another event")
        else:
            self.sequence, self.link = number, line["hash"]


class Verification:
    """One bundle: what contradicts the signed heads, what they name and it lacks, and what is not proven."""

    def __init__(self, path: Path, brought: Brought, earlier: dict[str, Head], *, is_last: bool) -> None:
        self.path, self.brought, self.earlier, self.is_last = path, brought, earlier, is_last
        self.problems: list[str] = []
        self.lacking: list[str] = []
        self.unproven: list[str] = []
        self.counts: Counter[str] = Counter()
        self.header: Line = {}
        self.claimed: Line | None = None
        # Of the checkpoints: the previous one, those that wait for a trusted one to name them, resumptions.
        self.newest: Checkpoint | None = None
        self.waiting: list[int] = []
        self.resumed: dict[str, tuple[int, int]] = {}
        self.trusted = set(brought.keys or [checkpoint.key for checkpoint in brought.held[-1:]])
        for checkpoint in brought.held:
            self.trust_successor(checkpoint)
        # The one held elsewhere, unless an operator resumed without it, and the bundle's of its number.
        self.held: Checkpoint | None = None
        self.same = ""
        # Of the streams: the heads that checkpoints name, and by events what was cut and opened.
        self.named: dict[str, dict[int, Head]] = defaultdict(dict)
        self.cuts: dict[str, list[Cut]] = defaultdict(list)
        self.begins: dict[str, int] = {}
        self.streams: dict[str, Stream] = {}
        self.opened: set[str] = set()
        self.covered: dict[str, Head] = {}
        # Lists of what was read or created: those that events name, and those in the bundle.
        self.wanted: set[str] = set()
        self.listed: set[str] = set()

    def problem(self, kind: str, where: str, what: str) -> None:
        """Note what contradicts the signed heads, or the bundle itself."""
        self.problems.append(f"{kind}: {where}: {what}")

    def run(self) -> None:
        """Read the checkpoints and the claims of events, then walk the events, then judge."""
        for line in self.lines():
            self.survey(line)
        self.judge_checkpoints()
        for line in self.lines():
            if line["kind"] == "event":
                self.read_event(line)
        self.end_streams()
        self.note_covered()
        self.judge_bundle()
        self.judge_streams()
        self.judge_held()
        self.state_limits()

    def lines(self) -> Iterator[Line]:
        """Yield the lines of the bundle. Raises Unreadable for one that is none."""
        with self.path.open("rb") as file:
            number = 0
            while raw := file.readline(LONGEST_LINE):
                number += 1
                try:
                    line = parsed(raw.decode())
                    check_form(line)
                except UnicodeDecodeError as error:
                    raise Unreadable(f"line {number}: it is no UTF-8") from error
                except Unreadable as error:
                    raise Unreadable(f"line {number}: {error}") from error
                yield line
        if not number:
            raise Unreadable("it is empty")

    # The first pass.

    def survey(self, line: Line) -> None:
        """Take a line's part in the whole."""
        kind = line["kind"]
        if not self.header:
            if kind != "bundle" or line["format"] not in FORMATS:
                raise Unreadable(
                    f"it is no bundle of a format that this program reads ({', '.join(FORMATS)})"
                )
            self.header, self.begins = line, dict(line.get("begins", {}))
            return
        if kind == "bundle" or self.claimed is not None:
            raise Unreadable("it holds more than one bundle: nothing may follow the end")
        if kind == "end":
            self.claimed = line["counts"]
            return
        self.counts[kind] += 1
        if kind == "checkpoint":
            self.read_checkpoint(Checkpoint(line))
        elif kind == "manifest":
            self.read_manifest(line)
        elif kind == "cut":
            if self.header["format"] != FORMATS[0]:
                raise Unreadable("it holds a line of another format")
            # It excuses nothing: it only shows where a sealed bundle begins.
            self.begins[line["stream"]] = max(line["through"], self.begins.get(line["stream"], 0))
        elif kind == "event":
            self.read_claim(line)

    def read_claim(self, line: Line) -> None:
        """Note what an event would excuse: whether a signed head covers it is judged at the end."""
        if '"trail.prune"' not in line["text"]:
            return
        said = event_fields(line["text"])
        if said and said["action"] == "trail.prune" and (cut := cut_of(said)):
            self.cuts[line["stream"]].append(cut)

    def read_checkpoint(self, found: Checkpoint) -> None:
        """Compare a checkpoint with the previous one, and note whether it counts."""
        where, before = f"checkpoint {found.number}", self.newest
        if str(found.deployment) != self.header["deployment"]:
            self.problem("forged", where, "it is of another deployment")
        is_signed = found.is_signed()
        if not is_signed:
            self.problem("edited", where, "the key that it names has not signed it")
        follows = self.follows(found, before)
        self.trust_successor(found)
        if not follows:
            self.judge_waiting()
        # A checkpoint counts by a trusted key, or if one that counts names its digest.
        if not is_signed or (self.trusted and found.key not in self.trusted):
            self.waiting.append(found.number)
        elif follows:
            self.waiting.clear()
        if self.brought.held and found.number == self.brought.held[-1].number:
            self.same = found.digest
        for name, head in found.heads.items():
            self.name_head(name, head)
        self.newest = found

    def follows(self, found: Checkpoint, before: Checkpoint | None) -> bool:
        """Return whether a checkpoint names the previous one; one after a resumption need not."""
        where, number = f"checkpoint {found.number}", before.number if before else 0
        follows: bool = found.previous == (before.digest if before else GENESIS)
        if found.resumed and not follows:
            self.resumed[found.previous] = (number, found.number)
        elif found.number != number + 1:
            self.problem("missing", where, "the checkpoints before it are missing, or it is listed twice")
        elif not follows:
            self.problem("forked", where, "it does not follow the checkpoint before it")
        return follows

    def name_head(self, name: str, head: Head) -> None:
        """Note an event that a checkpoint names; all must name the same."""
        known = self.named[name].setdefault(head.sequence, head)
        if known.link != head.link:
            what = f"checkpoint {known.checkpoint} names another event"
            self.problem("forked", f"event {name} #{head.sequence}, by checkpoint {head.checkpoint}", what)

    def trust_successor(self, found: Checkpoint) -> None:
        """Trust a key that a trusted one has signed as the next."""
        if any(found.is_vouched_for(key) for key in self.trusted):
            self.trusted.add(found.key)

    def judge_waiting(self) -> None:
        """Report checkpoints that nothing trusted signs or names."""
        if self.waiting:
            what = "neither a trusted key nor one that follows it has signed it"
            self.problem("forged", f"checkpoint {self.waiting[0]}", what)
        self.waiting.clear()

    def read_manifest(self, line: Line) -> None:
        """Compare a list of what was read or created with its digest."""
        digest, text = line["digest"], json.dumps(line["read"], separators=(",", ":"), ensure_ascii=False)
        if hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest() != digest:
            self.problem("edited", f"manifest {digest[:12]}", "it is not the list that was recorded")
        if digest in self.listed:
            self.problem("inserted", f"manifest {digest[:12]}", "it is listed twice")
        self.listed.add(digest)

    def judge_checkpoints(self) -> None:
        """Hold the checkpoint that was kept elsewhere against the bundle's, and let it count too."""
        self.judge_waiting()
        if not self.brought.held:
            return
        held, newest = self.brought.held[-1], self.newest
        where = f"checkpoint {held.number}, held elsewhere"
        if str(held.deployment) != self.header["deployment"]:
            self.problem("forged", where, "it is of another deployment than the bundle")
        elif not held.is_signed() or held.key not in self.trusted:
            self.problem("forged", where, "neither a trusted key nor one that follows it has signed it")
        elif self.is_left_behind(held):
            self.unproven.append(
                f"The audit log continues without checkpoint {held.number}: an operator resumed it."
            )
            return
        elif self.same and self.same != held.digest:
            self.problem("forked", where, "the bundle holds another checkpoint of that number")
        elif not self.same and newest and newest.number > held.number:
            self.problem("missing", where, "the bundle has later ones, and lacks it")
        self.held = held
        for name, head in held.heads.items():
            self.name_head(name, head)

    # The second pass.

    def read_event(self, line: Line) -> None:
        """Continue a stream, up to its first damage."""
        name = line["stream"]
        stream = self.streams.get(name) or self.open_stream(name)
        if stream.damage:
            return
        said = event_fields(line["text"])
        if said is None:
            stream.damage = ("edited", stream.sequence + 1, "it holds what Keeper never records")
        elif not stream.is_chained and 0 < said["sequence"] <= stream.through and said["stream"] == name:
            stream.take_kept(said["sequence"], line, self.named[name].get(said["sequence"]))
        else:
            if not stream.is_chained:
                stream.end_kept()
            if not stream.damage:
                stream.take(said, line, self.named[name].get(said["sequence"]))
        if said is None or stream.damage:
            return
        if said.get("manifest"):
            self.wanted.add(said["manifest"])
        if name == SYSTEM and said["action"] == "stream.open":
            self.opened.add(said["object_name"])

    def open_stream(self, name: str) -> Stream:
        """Begin to walk a stream where its cuts, its bundle or its genesis place its begin."""
        cuts, begins = sorted(self.cuts[name]), self.begins.get(name, 0)
        if self.header["format"] == FORMATS[0] and cuts and cuts[-1].through == begins:
            begins = 0
        genesis = b"keeper/v1/audit-stream" + UUID(self.header["deployment"]).bytes
        genesis += name.encode(errors="surrogatepass")
        stream = Stream(name, cuts, begins, hashlib.sha256(genesis).hexdigest())
        if name in self.earlier:
            self.name_head(name, self.earlier[name])
        self.streams[name] = stream
        return stream

    def end_streams(self) -> None:
        """Judge the cuts of streams that end with one; a stream that is only announced ends at once."""
        for name in sorted({*self.header["streams"], *self.streams}):
            stream = self.streams.get(name) or self.open_stream(name)
            if not stream.is_chained and not stream.damage:
                stream.end_kept()

    # The verdict.

    def is_left_behind(self, held: Checkpoint) -> bool:
        """Return whether a checkpoint that counts states that the audit log continues without this one."""
        return any(
            digest == held.digest or since < held.number < number
            for digest, (since, number) in self.resumed.items()
        )

    def signed_head(self, name: str) -> Head | None:
        """Return the last head of a stream that the bundle's own checkpoints sign."""
        return self.newest.heads.get(name) if self.newest else None

    def is_asked(self, name: str) -> bool:
        """Return whether the auditor exported this stream."""
        return self.brought.streams is None or name in self.brought.streams

    def judge_bundle(self) -> None:
        """Look for lines that are not there."""
        if self.claimed is None:
            self.problem("truncated", "bundle", "its end is missing")
        elif any(self.claimed.get(kind, 0) != self.counts[kind] for kind in {*self.claimed, *self.counts}):
            self.problem("truncated", "bundle", "it does not hold as much as it says")
        whole = self.header["whole"]
        for name in sorted(self.opened - self.streams.keys() - self.named.keys() if whole else ()):
            self.problem("missing", f"stream {name}", "the system stream records that it was opened")
        # A bundle that begins later holds no record of what was opened before.
        known = {SYSTEM, *self.opened}
        for name in sorted(self.streams.keys() - known if whole and SYSTEM not in self.begins else ()):
            self.problem("inserted", f"stream {name}", "the system stream does not record that it was opened")
        for digest in sorted(self.wanted - self.listed):
            self.problem("missing", f"manifest {digest[:12]}", "an event names it")

    def judge_streams(self) -> None:
        """Report the damage of each stream, and what the bundle's checkpoints name and the bundle lacks."""
        for name, stream in sorted(self.streams.items()):
            if found := stream.damage or self.end_damage(stream):
                kind, sequence, what = found
                self.problem(kind, f"event {name} #{sequence}" if sequence else f"stream {name}", what)
            elif stream.begins and not self.is_begun_before(stream):
                self.lacking.append(
                    f"stream {name}: the bundle begins after event {stream.begins}. Verify it together with "
                    "the bundle that was sealed before, which is named first."
                )
        absent = self.newest.heads.keys() - self.streams.keys() if self.newest else set()
        for name in sorted(absent):
            what = f"checkpoint {self.newest.number if self.newest else 0} names it"
            if self.header["whole"]:
                self.problem("missing", f"stream {name}", what)
            elif self.is_asked(name):
                self.lacking.append(f"stream {name}: {what}, and the bundle has no event of it.")
        for name in sorted((self.brought.streams or frozenset()) - self.streams.keys() - absent):
            self.lacking.append(f"stream {name}: you asked for it, and the bundle has no event of it.")
        if not self.covered:
            self.lacking.append("no signed head covers an event of this bundle: it proves nothing.")

    def end_damage(self, stream: Stream) -> Damage | None:
        """Return what is wrong with a stream whose events continue each other."""
        signed, covered = self.signed_head(stream.name), self.covered.get(stream.name)
        late = [cut for cut in stream.cuts if not covered or cut.sequence > covered.sequence]
        if not stream.sequence:
            return ("missing", 0, "the bundle says that it holds the stream")
        if signed and stream.sequence < signed.sequence:
            what = f"events up to {signed.sequence} are gone, which checkpoint {signed.checkpoint} names"
            return ("truncated", stream.sequence + 1, what)
        if late and not stream.begins:
            what = f"no signed head covers event {late[0].sequence}, and so its cut does not count"
            return ("missing", late[0].after + 1, what)
        return None

    def is_begun_before(self, stream: Stream) -> bool:
        """Return whether an earlier bundle proves the events before this one's first."""
        proven = self.earlier.get(stream.name)
        if not proven or proven.sequence < stream.begins:
            return False
        if not stream.first:
            # Without an event of its own it rests on the earlier one alone.
            return True
        # The walk has compared a later event that both have.
        return (
            proven.link == stream.first
            if proven.sequence == stream.begins
            else proven.sequence <= stream.sequence
        )

    def judge_held(self) -> None:
        """Hold the checkpoint that was kept elsewhere against the bundle."""
        held, newest = self.held, self.newest
        if not held or not self.is_last or (newest and newest.number >= held.number):
            return
        where = f"checkpoint {held.number}, held elsewhere"
        lost = {
            name: (stream.sequence if (stream := self.streams.get(name)) else 0, head.sequence)
            for name, head in held.heads.items()
            if self.is_asked(name)
        }
        lost = {name: (has, names) for name, (has, names) in lost.items() if has < names}
        if not lost:
            ends = f"ends with checkpoint {newest.number}" if newest else "has no checkpoint"
            self.unproven.append(f"The bundle {ends}, and lacks no event that {where}, names.")
            return
        as_of = self.header.get("as_of")
        if as_of and datetime.fromisoformat(as_of) - held.at > SIGNING_TAKES:
            ends = f"ends with checkpoint {newest.number}" if newest else "has none"
            self.problem(
                "rewound", where, f"the bundle {ends}, though it was made later: the audit log was set back"
            )
        for name, (has, names) in sorted(lost.items()):
            self.lacking.append(f"stream {name}: events {has + 1} to {names}, which {where}, names.")
        self.lacking.append(
            "the bundle is older than that checkpoint. Fetch the checkpoint first, then export. If the "
            "bundle is older even then, the audit log was set back."
        )

    def note_covered(self) -> None:
        """Note the last signed head that each stream reaches: what is after it does not count."""
        for name, stream in self.streams.items():
            held = self.held.heads.get(name) if self.held else None
            signed = [head for head in (self.signed_head(name), held) if head]
            reached = [head for head in signed if head.sequence <= stream.sequence]
            if reached and not stream.damage:
                self.covered[name] = max(reached)

    def state_limits(self) -> None:
        """State what this verification does not prove."""
        say, held = self.unproven.append, self.brought.held
        say(
            "The MACs of the events were not checked: their key never leaves Keeper, where `keeper "
            "verify-audit` checks them."
        )
        say(
            "The header, the lines `cut` of format 1, and the order of streams and manifests are not signed, "
            "and excuse nothing."
        )
        if not self.brought.keys:
            who = "the key of the checkpoint held elsewhere was taken" if held else "anybody may have signed"
            say(f"No public key was pinned: {who}.")
        if not held:
            say("No checkpoint from elsewhere was given: an audit log set back as a whole looks like this.")
        else:
            number = held[-1].number
            say(f"What was signed after checkpoint {number} may be missing: you brought no later one.")
        newer = 0
        for name, stream in sorted(self.streams.items()):
            signed = self.covered[name].sequence if name in self.covered else 0
            newer += 0 if stream.damage else stream.sequence - max(signed, stream.begins)
            if stream.uncovered:
                say(f"{stream.uncovered} events of stream {name} are in the bundle before and count there.")
            if stream.cuts and not stream.begins:
                removed = stream.through - sum(stream.kept)
                say(
                    f"Retention took {removed} of the first {stream.through} events of stream {name} out: "
                    "the events trail.prune name the bundles that hold them."
                )
        if newer > 0:
            say(
                f"{newer} events are newer than what is signed and do not count: whoever can write to the "
                "database can make or remove them."
            )
        if surplus := len(self.listed - self.wanted):
            say(f"{surplus} manifests are named by no event, and do not count.")
        if self.brought.streams is not None or not self.header["whole"]:
            say(f"Only {len(self.streams)} streams were exported.")


def check_form(line: Line) -> None:
    """Raise Unreadable unless a line has the fields of its kind."""
    kind = line.get("kind")
    sound = {
        "bundle": lambda: (
            isinstance(line["format"], str)
            and UUID(line["deployment"]) is not None
            and isinstance(line["whole"], bool)
            and isinstance(line["streams"], list)
            and all(isinstance(name, str) for name in line["streams"])
            and all(map(is_number, line.get("begins", {}).values()))
            and ("as_of" not in line or datetime.fromisoformat(line["as_of"]).tzinfo is not None)
        ),
        "event": lambda: (
            all(isinstance(line[name], str) for name in ("stream", "text", "mac"))
            and matches(HASH, line["previous"])
            and matches(HASH, line["hash"])
        ),
        "manifest": lambda: matches(HASH, line["digest"]) and isinstance(line["read"], list),
        "checkpoint": lambda: True,
        "cut": lambda: isinstance(line["stream"], str) and is_number(line["through"]),
        "end": lambda: all(map(is_number, line["counts"].values())),
    }
    if not isinstance(kind, str) or kind not in sound:
        raise Unreadable("it is of a kind that this program does not know")
    try:
        if sound[kind]():
            return
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    raise Unreadable(f"it lacks a part of a line of the kind {kind}, or has another in its place")


def held_elsewhere(path: Path) -> list[Checkpoint]:
    """Return the checkpoints in a file that a sink holds, by number; a torn line is none."""
    found = []
    for raw in path.read_bytes().splitlines():
        try:
            found.append(Checkpoint(parsed(raw.decode())))
        except (Unreadable, UnicodeDecodeError):
            continue
    if not found:
        raise Unreadable("it holds no checkpoint")
    return sorted(found, key=lambda checkpoint: checkpoint.number)


def report(done: Verification) -> int:
    """Print the result of one bundle, and return its exit code."""
    for sentence in done.problems:
        print(shown(sentence))
    for sentence in done.lacking:
        print(shown(f"incomplete: {sentence}"))
    counted = ", ".join(f"{done.counts[kind]:,} {kind}s" for kind in ("checkpoint", "event", "manifest"))
    print(f"{counted}, {len(done.problems)} problems")
    for sentence in done.unproven:
        print(shown(f"not proven: {sentence}"))
    return DAMAGED if done.problems else INCOMPLETE if done.lacking else SOUND


def main(arguments: list[str] | None = None) -> int:
    """Verify bundles and print the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path, nargs="+")
    parser.add_argument(
        "--public-key", metavar="HEX", action="append", help="a signing key that you trust, 64 digits"
    )
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="what a sink holds; its highest number counts"
    )
    parser.add_argument(
        "--stream", action="append", help="a stream that you exported, if not all; repeatable"
    )
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    keys = frozenset(key.lower() for key in options.public_key or ())
    if not all(matches(HASH, key) for key in keys):
        parser.error(
            "--public-key takes the 64 hexadecimal digits that `keeper checkpoint --public-keys` prints"
        )
    codes, reading = set(), options.checkpoint
    earlier: dict[str, Head] = {}
    try:
        held = held_elsewhere(options.checkpoint) if options.checkpoint else []
        brought = Brought(keys, held, frozenset(options.stream) if options.stream else None)
        for reading in options.bundle:
            done = Verification(reading, brought, earlier, is_last=reading is options.bundle[-1])
            done.run()
            if len(options.bundle) > 1:
                print(shown(f"{reading}:"))
            codes.add(report(done))
            if not done.problems and not done.lacking:
                earlier |= done.covered
    except Unreadable as error:
        print(shown(f"cannot be read: {reading}: {error}"), file=sys.stderr)
        return UNREADABLE
    except OSError as error:
        print(shown(f"cannot be read: {reading}: {error.strerror}"), file=sys.stderr)
        return UNREADABLE
    return DAMAGED if DAMAGED in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main())
