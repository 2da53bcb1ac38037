#!/usr/bin/env python3
"""Verifies a bundle of Keeper's audit trail, without Keeper: `keeper audit-export FILE` writes one.

    python verify_offline.py BUNDLE --public-key HEX --checkpoint FILE

Needs Python 3.11 and `cryptography`, and nothing of Keeper's. What it takes on trust is what you bring:

  --public-key   a signing key that was written down elsewhere (`keeper checkpoint --public-keys`)
  --checkpoint   what a sink holds (its last line counts), fetched by you and not by Keeper

Without the first, any key may have signed; without the second, the bundle may be an older state of the
audit log. Exit code: 0 sound, 1 damaged, 2 the bundle cannot be read. The last lines say what was not
proven.
"""

import argparse
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "keeper-audit-bundle/1"
GENESIS = "00" * 32


class Unreadable(Exception):
    """The file is no bundle."""


class Checkpoint:
    """A signed statement of the heads of all streams."""

    def __init__(self, text: str, signature: str) -> None:
        self.said: dict[str, Any] = json.loads(text)
        self.signature = bytes.fromhex(signature)
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        self.number: int = self.said["number"]
        self.key: str = self.said["public_key"]
        self.heads: dict[str, list[Any]] = self.said["heads"]

    def is_signed(self) -> bool:
        """Return whether the key that it names has signed it."""
        return verifies(self.key, b"keeper/v1/checkpoint" + bytes.fromhex(self.digest), self.signature)

    def is_vouched_for(self, by: str) -> bool:
        """Return whether an older key has signed this one as its successor."""
        succession = self.said["succession"]
        if not succession:
            return False
        said = (
            b"keeper/v1/checkpoint-key" + UUID(self.said["deployment"]).bytes + UUID(self.said["key"]).bytes
        )
        return verifies(by, said + bytes.fromhex(self.key), bytes.fromhex(succession["signature"]))


def verifies(public_key: str, message: bytes, signature: bytes) -> bool:
    """Return whether an Ed25519 signature is valid."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def hashes(previous: str, text: str, link: str) -> bool:
    """Return whether an event's text and the previous hash give its hash."""
    return hashlib.sha256(bytes.fromhex(previous) + text.encode()).hexdigest() == link


class Verification:
    """One pass over a bundle: what is wrong, and what could not be proven."""

    def __init__(self, *, public_key: str | None, external: Checkpoint | None) -> None:
        self.problems: list[str] = []
        self.trusted = {public_key} if public_key else set()
        self.external = external
        self.deployment = UUID(int=0)
        self.whole = False
        self.streams: list[str] = []
        self.checkpoints: list[Checkpoint] = []
        self.counts: Counter[str] = Counter()
        self.claimed: dict[str, int] | None = None
        # The heads of streams in checkpoints: sequence → hash → number.
        self.named: dict[str, dict[int, tuple[str, int]]] = defaultdict(dict)
        self.heads: dict[str, tuple[int, str]] = {}
        self.broken: set[str] = set()
        self.manifests: set[str] = set()
        self.wanted: set[str] = set()
        self.opened: set[str] = set()
        # What retention took out of streams, by the words of the bundle and by the streams' own events.
        self.cuts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.recorded: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        self.kept: dict[str, list[tuple[int, str]]] = defaultdict(list)

    def problem(self, kind: str, where: str, what: str) -> None:
        """Note something wrong."""
        self.problems.append(f"{kind}: {where}: {what}")

    def run(self, lines: Iterator[dict[str, Any]]) -> None:
        """Go through the bundle once, and then judge it as a whole."""
        first = next(lines, {})
        if first.get("kind") != "bundle" or first.get("format") != FORMAT:
            raise Unreadable(f"this is no bundle of the format {FORMAT}")
        self.deployment, self.whole, self.streams = (
            UUID(first["deployment"]),
            first["whole"],
            first["streams"],
        )
        in_checkpoints = True
        for line in lines:
            kind = line.pop("kind")
            if self.claimed is not None:
                raise Unreadable("something follows the end of the bundle")
            if in_checkpoints and kind not in {"checkpoint", "cut"}:
                in_checkpoints = False
                self.judge_checkpoints()
            self.counts[kind] += kind != "end"
            getattr(self, f"read_{kind}")(line)
        if in_checkpoints:
            self.judge_checkpoints()
        self.judge_whole()

    def read_checkpoint(self, line: dict[str, Any]) -> None:
        """Compare a checkpoint with the previous one."""
        found = Checkpoint(line["checkpoint"], line["signature"])
        where = f"checkpoint {found.number}"
        before = self.checkpoints[-1] if self.checkpoints else None
        if found.said["deployment"] != str(self.deployment):
            self.problem("forged", where, "it is of another deployment")
        if not found.is_signed():
            self.problem("edited", where, "the key that it names has not signed it")
        if not found.said["resumed"]:
            if found.number != (before.number if before else 0) + 1:
                self.problem("missing", where, "the checkpoints before it are missing")
            elif found.said["previous"] != (before.digest if before else GENESIS):
                self.problem("forked", where, "it does not follow the checkpoint before it")
        if before and before.key in self.trusted and found.is_vouched_for(before.key):
            self.trusted.add(found.key)
        self.checkpoints.append(found)

    def judge_checkpoints(self) -> None:
        """Hold the checkpoints against what the verifier brought, and note what they name."""
        newest = self.checkpoints[-1] if self.checkpoints else None
        if newest and self.trusted and newest.key not in self.trusted:
            self.problem(
                "forged",
                f"checkpoint {newest.number}",
                "neither the pinned key nor one that follows it signed",
            )
        if self.external:
            self.judge_external(self.external, newest)
        for found in [*self.checkpoints, *([self.external] if self.external else [])]:
            for stream, (sequence, link) in found.heads.items():
                self.named[stream].setdefault(sequence, (link, found.number))

    def judge_external(self, external: Checkpoint, newest: Checkpoint | None) -> None:
        """Hold the checkpoint that was kept elsewhere against the bundle's."""
        where = f"checkpoint {external.number}, held elsewhere"
        if external.said["deployment"] != str(self.deployment):
            self.problem("forged", where, "it is of another deployment than the bundle")
        if not external.is_signed() or (self.trusted and external.key not in self.trusted):
            self.problem("forged", where, "the pinned key, or one that follows it, has not signed it")
        same = [found for found in self.checkpoints if found.number == external.number]
        resumed = any(
            found.said["resumed"] and found.said["previous"] == external.digest for found in self.checkpoints
        )
        if same and same[0].digest != external.digest:
            self.problem("forked", where, "the bundle holds another checkpoint of that number")
        elif not same and not resumed:
            stands = f"ends with {newest.number}" if newest else "has none"
            self.problem("rewound", where, f"the bundle is older: it {stands}")

    def read_cut(self, line: dict[str, Any]) -> None:
        """Note the pruned events of a stream; the event of the cut must match."""
        self.cuts[line["stream"]].append(line)

    def read_kept(self, line: dict[str, Any], said: dict[str, Any]) -> None:
        """Note an event that a cut left standing: what stood beside it is gone."""
        stream, sequence = line["stream"], said["sequence"]
        if said["stream"] != stream or not hashes(line["previous"], line["text"], line["hash"]):
            self.broken.add(stream)
            self.problem("edited", f"event {stream} #{sequence}", "it is not the event that was recorded")
        self.kept[stream].append((sequence, line["hash"]))

    def judge_cuts(self, stream: str) -> None:
        """Compare the kept events with the records of the cuts, and continue after the last cut."""
        last = 0
        for cut in self.cuts[stream]:
            where = f"event {stream} #{cut['after'] + 1}"
            if cut["after"] != last:
                self.broken.add(stream)
                self.problem("missing", where, "the record of the cut before is missing")
            kept = [each for each in self.kept[stream] if cut["after"] < each[0] <= cut["through"]]
            digest = hashlib.sha256(b"keeper/v1/kept-events")
            for sequence, link in kept:
                digest.update(sequence.to_bytes(8, "big") + bytes.fromhex(link))
            if digest.hexdigest() != cut["digest"]:
                self.broken.add(stream)
                kind = "missing" if len(kept) < cut["kept"] else "inserted"
                self.problem(kind, where, f"the cut kept {cut['kept']} events, and these are not those")
            last = cut["through"]
            link, checkpoint = self.named[stream].get(last, (cut["hash"], 0))
            if link != cut["hash"]:
                self.broken.add(stream)
                self.problem("forked", where, f"checkpoint {checkpoint} names another event than the cut")
            self.heads[stream] = (last, cut["hash"])

    def read_manifest(self, line: dict[str, Any]) -> None:
        """Check that a list of what was read is the one that its digest names."""
        text = json.dumps(line["read"], separators=(",", ":"), ensure_ascii=False)
        if hashlib.sha256(text.encode()).hexdigest() != line["digest"]:
            self.problem("edited", f"manifest {line['digest'][:12]}", "it is not the list that was recorded")
        self.manifests.add(line["digest"])

    def read_event(self, line: dict[str, Any]) -> None:
        """Compare an event with the previous one, up to the first damage of its stream."""
        stream = line["stream"]
        if stream in self.broken:
            return
        if stream not in self.heads and stream in self.cuts:
            said = self.said_of(line)
            if said and said["sequence"] <= self.cuts[stream][-1]["through"]:
                self.read_kept(line, said)
                self.note(stream, said)
                return
            self.judge_cuts(stream)
        if stream in self.broken:
            return
        sequence, previous = self.heads.get(stream, (0, self.genesis(stream)))
        found = self.damage(line, sequence + 1, previous)
        if found:
            self.broken.add(stream)
            self.problem(found[0], f"event {stream} #{sequence + 1}", found[1])
            return
        self.heads[stream] = (sequence + 1, line["hash"])
        self.note(stream, json.loads(line["text"]))

    def note(self, stream: str, said: dict[str, Any]) -> None:
        """Note what a valid event requires of the rest of the bundle."""
        if said["manifest"]:
            self.wanted.add(said["manifest"])
        if stream == "system" and said["action"] == "stream.open":
            self.opened.add(said["object_name"])
        if said["action"] == "trail.prune":
            self.recorded[stream][said["sequence"]] = json.loads(said["details"])

    def said_of(self, line: dict[str, Any]) -> dict[str, Any] | None:
        """Return an event's content, or None if Keeper never records it."""
        try:
            said: dict[str, Any] = json.loads(line["text"])
            return said if isinstance(said["sequence"], int) else None
        except (ValueError, TypeError, KeyError):
            return None

    def damage(self, line: dict[str, Any], expected: int, previous: str) -> tuple[str, str] | None:
        """Return the kind of damage and words for it."""
        try:
            said = json.loads(line["text"])
            number, stream = said["sequence"], said["stream"]
        except (ValueError, TypeError, KeyError):
            return "edited", "it holds what Keeper never records"
        if number > expected:
            return "missing", f"events {expected} to {number - 1} are missing"
        fits = hashes(previous, line["text"], line["hash"])
        if number < expected or stream != line["stream"]:
            return "reordered", "an event stands here that belongs elsewhere"
        if not fits or line["previous"] != previous:
            return "edited", "it is not the event that was recorded, or stood in another place"
        link, checkpoint = self.named[stream].get(number, (line["hash"], 0))
        if link != line["hash"]:
            return "forked", f"checkpoint {checkpoint} names another one: history up to here was rewritten"
        return None

    def read_end(self, line: dict[str, Any]) -> None:
        """Note how much there should be."""
        self.claimed = line["counts"]

    def judge_whole(self) -> None:
        """Look for what is not there."""
        if self.claimed is None:
            self.problem("truncated", "bundle", "its end is missing")
        elif self.claimed != {kind: self.counts[kind] for kind in self.claimed}:
            self.problem("truncated", "bundle", "it does not hold as much as it says")
        self.judge_all_cuts()
        for stream, named in sorted(self.named.items()):
            last = max(named)
            sequence = self.heads.get(stream, (0, ""))[0]
            if stream in self.broken or (not self.whole and stream not in self.streams):
                continue
            if sequence == 0 and last:
                self.problem("missing", f"stream {stream}", f"checkpoint {named[last][1]} names it")
            elif sequence < last:
                what = f"events {sequence + 1} to {last} are gone, which checkpoint {named[last][1]} names"
                self.problem("truncated", f"event {stream} #{sequence + 1}", what)
        if self.whole:
            for stream in sorted(self.opened - self.heads.keys() - self.named.keys()):
                self.problem("missing", f"stream {stream}", "the system stream says that it was opened")
        for digest in sorted(self.wanted - self.manifests):
            self.problem("missing", f"manifest {digest[:12]}", "an event names it")

    def judge_all_cuts(self) -> None:
        """Judge the cuts of streams that end with one, and hold every cut against its record."""
        for stream in sorted(self.cuts):
            if stream not in self.heads and stream not in self.broken:
                self.judge_cuts(stream)
            self.judge_records(stream)

    def judge_records(self, stream: str) -> None:
        """Hold each cut against the event that records it, where that is in the bundle."""
        same = ("after", "through", "hash", "kept", "digest")
        for cut in self.cuts[stream]:
            if stream in self.broken or cut["sequence"] > self.heads[stream][0]:
                continue
            recorded = self.recorded[stream].get(cut["sequence"], {})
            if any(recorded.get(part) != cut[part] for part in same):
                where = f"event {stream} #{cut['after'] + 1}"
                self.problem("forged", where, "no event of the stream records this cut")

    def genesis(self, stream: str) -> str:
        """Return what stands for the hash before a stream's first event."""
        seed = b"keeper/v1/audit-stream" + self.deployment.bytes + stream.encode()
        return hashlib.sha256(seed).hexdigest()

    def unproven(self) -> Iterator[str]:
        """Yield what this verification does not show."""
        yield (
            "The events' MACs were not checked: their key never leaves Keeper, where `keeper verify-audit` "
            "checks them."
        )
        if not self.trusted:
            yield "No public key was pinned: somebody else's key may have signed the checkpoints."
        if not self.external:
            yield "No checkpoint from elsewhere was given: a trail set back as a whole would look like this."
        anchor = self.external or (self.checkpoints[-1] if self.checkpoints else None)
        signed = anchor.heads if anchor else {}
        newer = sum(
            max(sequence - (signed[stream][0] if stream in signed else 0), 0)
            for stream, (sequence, _) in self.heads.items()
        )
        if newer:
            yield (
                f"{newer} events are newer than what is signed: whoever could write to the database could "
                "have made them."
            )
        for stream, cuts in sorted(self.cuts.items()):
            kept, through = sum(cut["kept"] for cut in cuts), max(cut["through"] for cut in cuts)
            yield (
                f"Retention took {through - kept} of the first {through} events of stream {stream} out: the "
                "events trail.prune name the bundles that hold them."
            )
            if any(cut["sequence"] > self.heads.get(stream, (0, ""))[0] for cut in cuts):
                yield f"A cut of stream {stream} is recorded by an event that is newer than this bundle."
        if not self.whole:
            yield f"Only {len(self.streams)} streams were exported."


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the documents of a file, a line each."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            document = json.loads(line)
            if not isinstance(document, dict):
                raise Unreadable("a line is no document")
            yield document


def held_elsewhere(path: Path) -> Checkpoint:
    """Return the last checkpoint of a file that a sink holds."""
    *_, last = (line for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    said = json.loads(last)
    return Checkpoint(said["checkpoint"], said["signature"])


def main() -> int:
    """Verify a bundle and print the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--public-key", metavar="HEX", help="the signing key that you trust, 64 digits")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="what a sink holds; its last line counts"
    )
    options = parser.parse_args()
    try:
        external = held_elsewhere(options.checkpoint) if options.checkpoint else None
        verification = Verification(public_key=options.public_key, external=external)
        verification.run(lines_of(options.bundle))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, Unreadable) as error:
        print(f"cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    for problem in verification.problems:
        print(problem)
    counted = ", ".join(
        f"{count:,} {kind}s" for kind, count in sorted(verification.counts.items()) if kind != "end"
    )
    print(f"{counted}, {len(verification.problems)} problems")
    for sentence in verification.unproven():
        print(f"not proven: {sentence}")
    return 1 if verification.problems else 0


if __name__ == "__main__":
    sys.exit(main())
