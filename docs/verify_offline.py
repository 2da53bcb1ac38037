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
  --file         a file of an evidence pack (`keeper evidence-pack`), which the event of the newest pack in
                 the bundle must record under this name; repeatable
                 A review of access (review-*.jsonl) is held against the events, entry by entry
  --pack         the number of the event of an older pack, if you mean that one
  --since        the first day that you verify, if it is a segment and you give no file of its pack
  --stream       the streams that you asked `keeper audit-export` for; by default, all

Several bundles are verified in their order: what retention sealed, oldest first, and then the export. A
bundle that begins after another one's end is complete only together with that one. A segment, as evidence
packs have it, begins after a checkpoint that it holds: with the event after each head that this signs. It is
complete for its pack, whose files you give, or for a time that you name, and never for a whole export.

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
from contextlib import suppress
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
# The events of reviews of access, and those of acts that end access.
STEPS = frozenset({"review.start", "review.decide", "review.sign", "review.cancel"})
ENDS = frozenset(
    {"member.revoke", "member.expire", "token.revoke", "trust.delete", "group.change", "user.change"}
)
CHANGES = frozenset({"member.change", "trust.change", "user.change"})
# What the event of a review's start, of its end and of a decision must say as the file has it.
STARTED = (
    "scope", "prefix", "kinds", "ends_undecided", "items", "population", "population_at", "due_at",
)  # fmt: skip
CLOSED = ("closed_at", "comment")
DECIDED = ("decision", "reason", "kept", "decided_at")
# After a review was due: from then on Keeper itself may end what nobody decided.
GRACE = timedelta(days=7)
# The parts of the lines whose content is signed.
PARTS = {
    "event": ("stream", "text", "previous", "hash", "mac"),
    "manifest": ("digest", "read"),
    "checkpoint": ("checkpoint", "signature"),
}
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
    # SHA-256 of files that the event of a pack must record, by name; the number of an older pack's event.
    files: dict[str, str]
    pack: int | None
    # The reviews of access among them, by the uuid of the review.
    reviews: dict[str, "Review"]
    # The time from which on a segment is to hold the log.
    since: datetime | None


class Pack(NamedTuple):
    """An evidence pack, as its event records it: SHA-256 by file name, when it was made, and its period."""

    files: Line
    at: str
    since: str
    until: str
    # The event up to which it lists the reviews of access.
    through: int
    # The checkpoint after which its log begins; 0 for all of it.
    after: int


class Review(NamedTuple):
    """A review of access as a file of a pack has it: its head, its entries by uuid, and the file."""

    head: Line
    items: dict[str, Line]
    path: str


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


def unique(pairs: list[tuple[str, Any]]) -> Line:
    """Return the parts of a JSON object. Raises ValueError if two have one name: which counts, is open."""
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("an object names a part twice")
    return found


def parsed(text: str) -> Line:
    """Return a JSON object. Raises Unreadable if the text is none."""
    try:
        found = json.loads(text, object_pairs_hook=unique)
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


def digits(uuid: object) -> str:
    """Return the hexadecimal digits of a UUID: events have no hyphens in theirs, and details have."""
    return str(uuid).replace("-", "")


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
        self.last_kept = 0
        # Of a bundle that begins later: the hash before its first event, empty if it has none.
        self.first = ""
        self.is_chained = False

    def take_kept(self, sequence: int, line: Line, named: Head | None) -> None:
        """Add an event that a cut kept to the digest of that cut; before a begin there is no such event."""
        if self.begins:
            self.damage = ("inserted", sequence, f"the bundle begins after event {self.begins}")
        elif sequence <= self.last_kept:
            self.damage = ("reordered", sequence, "the event is listed twice, or in another place")
        elif hashed(line["previous"], line["text"]) != line["hash"]:
            self.damage = ("edited", sequence, "the event is not the one that was recorded")
        elif named and named.link != line["hash"]:
            self.damage = ("forked", sequence, f"checkpoint {named.checkpoint} names another event")
        if self.damage:
            return
        self.last_kept = sequence
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
        # Whether one of them counts; a segment may begin after the trusted key had spoken for the next one.
        self.is_rooted = self.is_unrooted = False
        # The newest checkpoint that the log had when an operator resumed it, as an event says.
        self.stored: dict[str, tuple[int, object]] = {}
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
        # Of a segment: the number of the checkpoint after which it begins, and that checkpoint.
        self.after = 0
        self.first: Checkpoint | None = None
        self.is_continued = False
        self.pack: Pack | None = None
        self.streams: dict[str, Stream] = {}
        self.opened: set[str] = set()
        self.covered: dict[str, Head] = {}
        # The packs that events record, by the number of the event.
        self.packs: dict[int, Pack] = {}
        self.proven: list[str] = []
        # Of the reviews: their events by number, the last event that ended each row, those that changed it.
        self.steps: dict[str, dict[int, Line]] = defaultdict(dict)
        self.ended: dict[str, tuple[str, int]] = {}
        self.changed: dict[str, list[tuple[str, int, Line]]] = defaultdict(list)
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
        self.judge_resumed()
        self.judge_files()
        self.judge_extent()
        for uuid, review in self.brought.reviews.items() if self.is_last else ():
            self.judge_review(uuid, review)
        self.state_limits()

    def lines(self) -> Iterator[Line]:
        """Yield the lines of the bundle. Raises Unreadable for one that is none."""
        with self.path.open("rb") as file:
            number = 0
            while raw := file.readline(LONGEST_LINE):
                number += 1
                try:
                    line = parsed(raw.decode())
                    check_form(line, raw.decode())
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
            self.after = line.get("after", 0)
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
        else:
            self.is_rooted = True
            if follows:
                self.waiting.clear()
        if self.brought.held and found.number == self.brought.held[-1].number:
            self.same = found.digest
        for name, head in found.heads.items():
            self.name_head(name, head)
        self.newest = found

    def follows(self, found: Checkpoint, before: Checkpoint | None) -> bool:
        """Return whether a checkpoint names the previous one; one after a resumption need not."""
        if before is None and found.number == self.after:
            # What is before the first one of a segment is not in it.
            self.first = found
            return True
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
        if self.waiting and self.after and not self.is_rooted:
            self.is_unrooted = True
            self.lacking.append(
                f"checkpoint {self.waiting[0]}: no key that you trust has signed it. The segment begins "
                "with it, and does not show which key followed yours. Pin the newer key, if you have it from "
                "elsewhere, or bring all checkpoints of the sink up to it."
            )
        elif self.waiting:
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
        if self.after:
            self.judge_begin()
        if not self.brought.held:
            return
        held, newest = self.brought.held[-1], self.newest
        where = f"checkpoint {held.number}, held elsewhere"
        if str(held.deployment) != self.header["deployment"]:
            self.problem("forged", where, "it is of another deployment than the bundle")
        elif not held.is_signed() or not (held.key in self.trusted or self.is_unrooted):
            self.problem("forged", where, "neither a trusted key nor one that follows it has signed it")
        elif self.is_left_behind(held):
            self.unproven.append(
                f"The audit log continues without checkpoint {held.number}: an operator resumed it."
            )
            return
        elif held.number < self.after:
            self.lacking.append(
                f"{where}, is older than the first of this segment. Fetch a newer one: the segment does not "
                "show what became of that one."
            )
            return
        elif self.same and self.same != held.digest:
            self.problem("forked", where, "the bundle holds another checkpoint of that number")
        elif not self.same and newest and newest.number > held.number:
            self.problem("missing", where, "the bundle has later ones, and lacks it")
        self.held = held
        for name, head in held.heads.items():
            self.name_head(name, head)

    def judge_begin(self) -> None:
        """Hold the begin of a segment against the heads of its first checkpoint, and rest on those."""
        first, where = self.first, f"checkpoint {self.after}"
        if first is None:
            self.problem("missing", where, "the segment begins after it, and lacks it")
            return
        if any(held.number == first.number and held.digest != first.digest for held in self.brought.held):
            self.problem("exchanged", where, "the one held elsewhere is another")
        for name, begins in sorted(self.begins.items()):
            signed = first.heads[name].sequence if name in first.heads else 0
            if begins != signed:
                what = f"the segment begins after event {begins}, and {where} names event {signed}"
                self.problem("missing" if begins > signed else "exchanged", f"stream {name}", what)
        self.is_continued = all(
            name in self.earlier and self.earlier[name].sequence >= begins
            for name, begins in self.begins.items()
        )
        self.earlier = {**first.heads, **self.earlier}
        self.unproven.append(
            f"The {sum(self.begins.values())} events up to {where} of {first.at:%Y-%m-%d %H:%M} UTC are not "
            "in this segment. A review of access that began before is not missed."
        )

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
        if name == SYSTEM:
            self.read_of_system(said)
        self.read_review(name, said)

    def read_of_system(self, said: Line) -> None:
        """Note what an event of the installation says: a stream, a pack, or a resumption."""
        if said["action"] == "stream.open":
            self.opened.add(said["object_name"])
        elif said["action"] == "trail.export":
            self.read_files(said)
        elif said["action"] == "trail.resume":
            with suppress(Unreadable):
                details = parsed(said["details"])
                self.stored[str(details.get("digest"))] = (said["sequence"], details.get("stored"))

    def read_review(self, stream: str, said: Line) -> None:
        """Note an event of a review of access, and the rows whose access an event ended."""
        about = digits(said.get("object_uuid"))
        if stream == SYSTEM and said["action"] in STEPS:
            self.steps[about][said["sequence"]] = said
        if not self.brought.reviews or said.get("outcome") != "allowed":
            return
        if said["action"] in CHANGES:
            with suppress(Unreadable):
                self.changed[about].append((stream, said["sequence"], parsed(said["details"])))
        if said["action"] in ENDS:
            with suppress(Unreadable):
                rows = parsed(said["details"]).get("rows")
                named = {about, *map(digits, rows if isinstance(rows, dict) else ())}
                self.ended |= dict.fromkeys(named, (stream, said["sequence"]))

    def read_files(self, said: Line) -> None:
        """Note the files of an evidence pack that an event records."""
        try:
            details = parsed(said["details"])
        except Unreadable:
            return
        if isinstance(files := details.get("files"), dict):
            since, until = (str(details.get(name)) for name in ("since", "until"))
            through = details["reviews_through"] if is_number(details.get("reviews_through")) else 0
            after = details["after"] if is_number(details.get("after")) else 0
            self.packs[said["sequence"]] = Pack(files, str(said.get("at")), since, until, through, after)

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
        # A bundle that begins later holds no record of what was opened before; the first of a segment does.
        known = {SYSTEM, *self.opened, *(self.first.heads if self.first else ())}
        is_known = whole and (SYSTEM not in self.begins or self.first is not None)
        for name in sorted(self.streams.keys() - known if is_known else ()):
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

    def judge_resumed(self) -> None:
        """Hold the checkpoints before a resumption against its event, which names the last one."""
        for digest, (last, number) in self.resumed.items():
            event, stored = self.stored.get(digest, (0, None))
            if not self.is_covered(SYSTEM, event) or not is_number(stored):
                self.unproven.append(
                    f"Checkpoint {number} continues a log that an operator resumed. No event says which one "
                    f"was the last before: some after {last} may be missing here."
                )
            elif last != stored:
                what = f"event {SYSTEM} #{event} says that checkpoint {stored} was the last before it"
                self.problem("missing", f"checkpoint {number}", what)

    def judge_extent(self) -> None:
        """Ask of a segment whether it holds what the auditor verifies: a pack, or the time since a day."""
        since = self.brought.since
        if self.first is None or self.is_continued or self.pack:
            return
        if since is None or self.first.at + SIGNING_TAKES > since:
            self.lacking.append(
                f"the segment begins after checkpoint {self.after} of {self.first.at:%Y-%m-%d %H:%M} UTC: "
                "what was before is not in it. Give the files of its pack by --file, or the first day that "
                "you verify by --since."
            )

    def judge_files(self) -> None:
        """Hold the files against one pack: the newest that is proven, or the one that the auditor names."""
        if not self.is_last or not self.brought.files:
            return
        proven = [number for number in self.packs if self.is_covered(SYSTEM, number)]
        chosen = self.brought.pack or max(proven, default=0)
        pack = self.packs[chosen] if chosen in proven else None
        for path, digest in self.brought.files.items():
            file = f"file {path}"
            of = [number for number, each in self.packs.items() if digest in each.files.values()]
            if not of:
                self.problem("edited", file, "no event records a file with this content")
            elif not self.is_covered(SYSTEM, min(of)):
                self.lacking.append(f"{file}: no signed head covers event {SYSTEM} #{min(of)}.")
            elif pack is None or chosen not in of:
                self.problem(
                    "exchanged",
                    file,
                    f"it is of the pack of event {SYSTEM} #{max(of)}, and not of #{chosen}. If you mean the "
                    f"older pack, name it with all its files: --pack {max(of)}",
                )
            elif pack.files.get(Path(path).name) != digest:
                self.problem("exchanged", file, f"event {SYSTEM} #{chosen} records it as another file")
            else:
                self.proven.append(
                    f"{file}: event {SYSTEM} #{chosen} records it, at {pack.at}, of {pack.since} to "
                    f"{pack.until}"
                )
        given = {Path(path).name for path in self.brought.files}
        for name in sorted(pack.files.keys() - given) if pack else ():
            what = f"The pack of event {SYSTEM} #{chosen} has {name} too, which was not given."
            (self.lacking if review_of(name) else self.unproven).append(what)
        self.pack = pack
        if pack:
            self.judge_begin_of(chosen, pack)
            self.judge_reviews_of(chosen, pack)

    def judge_begin_of(self, number: int, pack: Pack) -> None:
        """Hold the begin of a segment against the pack, whose event names its first checkpoint."""
        since = moment(pack.since)
        if self.after > pack.after:
            begins = f"after checkpoint {pack.after}" if pack.after else "with the first event"
            what = (
                f"it begins after checkpoint {self.after}, and the pack of event {SYSTEM} #{number} {begins}"
            )
            self.problem("exchanged", "bundle", what)
        elif self.first and since and self.first.at > since:
            self.problem("exchanged", "bundle", f"it begins after checkpoint {self.after}, in its period")

    def judge_reviews_of(self, number: int, pack: Pack) -> None:
        """Report the reviews that signed events start in the period of a pack, and that it has no file of."""
        if not pack.through:
            self.unproven.append(f"Event {SYSTEM} #{number} does not say which reviews the pack lists.")
        for uuid in sorted(self.steps):
            steps = self.covered_steps(uuid, 2**63)
            starts = [(at, said, told) for at, said, told in steps if said["action"] == "review.start"]
            ended = any(
                told["closed_at"] < pack.since
                for _, _, told in steps
                if isinstance(told.get("closed_at"), str)
            )
            for at, said, told in starts:
                is_of_it = at <= pack.through and str(told.get("population_at")) < pack.until
                if is_of_it and not ended and uuid not in map(review_of, pack.files):
                    self.problem(
                        "missing",
                        f"review {said['object_name']}",
                        f"event {SYSTEM} #{at} starts it, and the pack of event {SYSTEM} #{number} lacks it",
                    )

    def covered_steps(self, uuid: str, through: int) -> list[tuple[int, Line, Line]]:
        """Return the events of a review up to one that count, each with its number and details."""
        return [
            (number, said, parsed(said["details"]))
            for number, said in sorted(self.steps[uuid].items())
            if number <= through and self.is_covered(SYSTEM, number) and said.get("outcome") == "allowed"
        ]

    def is_covered(self, stream: str, number: int) -> bool:
        """Return whether a signed head covers an event that is in the bundle."""
        begins = self.streams[stream].begins if stream in self.streams else 0
        return stream in self.covered and begins < number <= self.covered[stream].sequence

    def judge_review(self, uuid: str, review: Review) -> None:
        """Hold a review of access against its events: the frozen list, each decision, and the sign-off."""
        if self.is_unrooted:
            self.lacking.append(f"review {review.path}: no signed head covers its events.")
            return
        head, items = review.head, review.items
        through = head["through"] if is_number(head.get("through")) else 0
        steps = self.covered_steps(uuid, through)
        starts = [(said, details) for _, said, details in steps if said["action"] == "review.start"]
        frozen = hashlib.sha256(
            "\n".join(sorted(item["frozen"] for item in items.values())).encode(errors="surrogatepass")
        ).hexdigest()
        flaws = []
        if [(start.get("items"), start.get("population")) for _, start in starts] != [(len(items), frozen)]:
            flaws.append("its list is not the one that the event of its start names")
        for said, start in starts:
            told = {name: start.get(name) for name in STARTED}
            told |= {"name": said["object_name"], "started_by": said.get("actor_name")}
            flaws += [
                f"the event of its start has another {name}" for name in told if head.get(name) != told[name]
            ]
        last = {d.get("item"): (said, d) for _, said, d in steps if said["action"] == "review.decide"}
        flaws += [f"an event decides about {item}, which is not in it" for item in last.keys() - items.keys()]
        for item, entry in items.items():
            flaws += self.flaws_of_entry(head, entry, *last.get(item, (None, {})))
        flaws += flaws_of_end(head, [(said, details) for _, said, details in steps], items)
        for flaw in flaws:
            self.problem("edited", f"review {review.path}", flaw)
        if not flaws:
            kinds = Counter(str(entry["decision"]) or "undecided" for entry in items.values())
            counted = ", ".join(f"{count} {word}" for word, count in sorted(kinds.items()))
            by = f" by {head['closed_by']} at {head['closed_at']}" if head["closed_at"] else ""
            if head["state"] == "signed":
                by += f", with {len(head['given'])} given since"
            self.unproven.append(
                "That a review listed all access of its time, and all that was given since, is Keeper's word."
            )
            self.proven.append(
                f"review {head['name']}: {len(items)} entries ({counted}), {head['state']}{by}, as of event "
                f"{SYSTEM} #{through}"
            )

    def flaws_of_entry(self, head: Line, entry: Line, said: Line | None, details: Line) -> Iterator[str]:
        """Yield what an entry has that its last event does not say."""
        held = parsed(entry["frozen"])
        where = f"{held.get('subject_name')} in {held.get('environment_name') or 'the installation'}"
        if held.get("uuid") != entry["uuid"]:
            yield f"{where}: another entry is under its name"
        if said is None:
            if any(entry.get(name) for name in (*DECIDED, "decided_by", "decided_by_uuid")):
                yield f"{where}: no event decides about it"
            return
        if [entry.get(name) for name in DECIDED] != [details.get(name) for name in DECIDED]:
            yield f"{where}: its event has another decision"
        by = said.get("actor_name"), digits(said.get("actor_uuid"))
        if (entry["decided_by"], digits(entry["decided_by_uuid"])) != by:
            yield f"{where}: its event was made by another person"
        if by[1] == digits(held.get("subject_uuid")):
            yield f"{where}: its holder decided about it"
        if said.get("actor_kind") == "system" and not may_be_keepers(head, entry):
            yield f"{where}: Keeper itself decided about it, which the review does not say, or not yet"
        yield from (f"{where}: {flaw}" for flaw in self.flaws_of_act(entry, details))

    def flaws_of_act(self, entry: Line, details: Line) -> Iterator[str]:
        """Yield what the decision about an entry did and no event confirms."""
        for row in listed_in(details, "ended"):
            if (place := self.ended.get(digits(row))) is None or not self.is_covered(*place):
                yield "no event ends the access that was ended"
        changed = listed_in(details, "changed")
        if bool(changed) != (entry["decision"] == "change"):
            yield "its event does not change the access"
        for row in changed:
            acts = self.changed[digits(row)]
            kept = entry.get("kept")
            if not any(self.is_covered(stream, at) and is_right(told, kept) for stream, at, told in acts):
                yield "no event changes the access to what is left of it"

    def note_covered(self) -> None:
        """Note the last signed head that each stream reaches: what is after it does not count."""
        if self.is_unrooted:
            return
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
        if self.brought.files:
            say("Of a file it is proven that Keeper wrote it, and not that its rows follow from the events.")
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


def review_of(name: str) -> str:
    """Return the uuid of the review that a file of a pack is of, empty if it is of none."""
    return digits(name.removeprefix("review-").removesuffix(".jsonl")) if name.startswith("review-") else ""


def listed_in(details: Line, name: str) -> list[Any]:
    """Return a list in the details of an event, empty if it has none."""
    found = details.get(name)
    return found if isinstance(found, list) else []


def moment(text: object) -> datetime | None:
    """Return a time with its zone, None for what is none."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else None


def day(text: str) -> datetime:
    """Return the begin of a day in UTC. Raises ValueError if it is none."""
    return datetime.fromisoformat(f"{text}T00:00:00+00:00")


def is_right(details: Line, kept: object) -> bool:
    """Return whether the event of a change leaves this right; one of an account names its role alone."""
    if not isinstance(kept, dict) or details.get("role") != kept.get("role"):
        return False
    return "prefix" not in details or (
        details["prefix"] == kept.get("prefix")
        and moment(details.get("expires_at")) == moment(kept.get("expires_at"))
    )


def may_be_keepers(head: Line, entry: Line) -> bool:
    """Return whether Keeper itself may have decided about an entry: it ends what is left a week later."""
    due, at = moment(head.get("due_at")), moment(entry.get("decided_at"))
    ends = head.get("ends_undecided") is True and entry["decision"] == "end"
    return ends and due is not None and at is not None and at >= due + GRACE


def flaws_of_end(head: Line, steps: list[tuple[Line, Line]], items: dict[str, Line]) -> Iterator[str]:
    """Yield what is wrong with the end of a review: who closed it, and what was not decided."""
    closed = {"review.sign": "signed", "review.cancel": "cancelled"}
    ends = [(said, details) for said, details in steps if said["action"] in closed]
    told = [
        (closed[said["action"]], said.get("actor_name"), *(details.get(name) for name in CLOSED))
        for said, details in ends
    ]
    if (told or [("open", "", None, "")]) != [
        tuple(head.get(name) for name in ("state", "closed_by", *CLOSED))
    ]:
        yield "its events end it otherwise"
    given = listed_in(head, "given")
    text = json.dumps(given, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest() if given else ""
    signed = [details for said, details in ends if said["action"] == "review.sign"]
    noted = [(details.get("given"), details.get("given_digest")) for details in signed] or [(0, "")]
    if head.get("given") != given or noted != [(len(given), digest)]:
        yield "what was given since is not what was acknowledged"
    if head.get("state") == "signed":
        if not all(entry["decision"] for entry in items.values()):
            yield "it is signed off, and not all is decided"
        deciders = {digits(entry["decided_by_uuid"]) for entry in items.values()}
        if deciders & {digits(said.get("actor_uuid")) for said, _ in ends}:
            yield "a person who decided signed it off"


def read_review(path: Path) -> Review | None:
    """Return the review of access that a file holds, None if it is none. Raises Unreadable."""
    if not path.name.startswith("review-"):
        return None
    # At \n alone: a reason may hold other characters that end a line for Python.
    text = path.read_bytes().decode(errors="replace").removesuffix("\n")
    lines = [parsed(line) for line in text.split("\n")]
    names = ("uuid", "frozen", "decision", "reason")
    sound = (
        bool(lines)
        and isinstance(lines[0].get("uuid"), str)
        and all(
            all(isinstance(line.get(name), str) for name in names)
            and all(name in line for name in ("decided_by", "decided_by_uuid", "decided_at"))
            for line in lines[1:]
        )
    )
    items = {line["uuid"]: line for line in lines[1:]} if sound else {}
    if not sound or len(items) != len(lines) - 1:
        raise Unreadable("it is no review of access")
    return Review(lines[0], items, str(path))


def check_form(line: Line, text: str) -> None:
    """Raise Unreadable unless a line has the fields of its kind, and is written as Keeper writes it."""
    if text != json.dumps(line, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n":
        raise Unreadable("it is not written as Keeper writes it")
    kind = line.get("kind")
    sound = {
        "bundle": lambda: (
            isinstance(line["format"], str)
            and UUID(line["deployment"]) is not None
            and isinstance(line["whole"], bool)
            and isinstance(line["streams"], list)
            and all(isinstance(name, str) for name in line["streams"])
            and all(map(is_number, line.get("begins", {}).values()))
            and is_number(line.get("after", 0))
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
    if kind in PARTS and line.keys() != {"kind", *PARTS[kind]}:
        raise Unreadable(f"it has not the parts of a line of the kind {kind}, and no others")
    try:
        if sound[kind]():
            return
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    raise Unreadable(f"it lacks a part of a line of the kind {kind}, or has another in its place")


def held_elsewhere(path: Path) -> list[Checkpoint]:
    """Return the checkpoints in a file that a sink holds, by number; a torn line is none."""
    found = []
    for raw in path.read_bytes().split(b"\n"):
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
    for sentence in done.proven:
        print(shown(f"proven: {sentence}"))
    for sentence in done.unproven:
        print(shown(f"not proven: {sentence}"))
    return DAMAGED if done.problems else INCOMPLETE if done.lacking else SOUND


def main(arguments: list[str] | None = None) -> int:
    """Verify bundles and print the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle", type=Path, nargs="+")
    parser.add_argument(
        "--public-key", metavar="HEX", action="append", help="a signing key that you trust, 64 digits"
    )
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="what a sink holds; its highest number counts"
    )
    parser.add_argument(
        "--file", type=Path, action="append", help="a file of an evidence pack; repeatable", default=[]
    )
    parser.add_argument(
        "--pack", type=int, metavar="NUMBER", help="the event of an older pack; the newest by default"
    )
    parser.add_argument(
        "--stream", action="append", help="a stream that you exported, if not all; repeatable"
    )
    parser.add_argument(
        "--since", type=day, metavar="DATE", help="the first day that you verify, of a segment; in UTC"
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
        files: dict[str, str] = {}
        reviews: dict[str, Review] = {}
        for reading in options.file:
            if review := read_review(reading):
                reviews[digits(review.head["uuid"])] = review
            files[str(reading)] = hashlib.sha256(reading.read_bytes()).hexdigest()
        streams = frozenset(options.stream) if options.stream else None
        brought = Brought(keys, held, streams, files, options.pack, reviews, options.since)
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
