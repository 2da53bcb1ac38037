"""Bundles of the audit log: written by retention, read back, and listed.

A bundle can be verified without Keeper (docs/verify_offline.py). The list says what each bundle holds,
whether it lies here, and whether it is unchanged.

A bundle is one file of JSON lines, each with its `kind`:

    bundle      once, first: format, deployment, `as_of` (its time), its streams, and after which event
                those begin whose beginning an earlier bundle holds; of a segment `after`, the number of
                its first checkpoint, after whose heads its streams begin
    checkpoint  what was signed, in the order of its number, as the sinks hold it
    manifest    what an event about many read or created, which events name by its digest: each secret's
                uuid, the version's number and the name; of one that was created, two digests besides
    event       in the order of its stream: the canonical text that was hashed, previous hash, hash, MAC
    end         once, last: how many of each, so that a bundle cut short shows it

The signed heads of the checkpoints prove what their hashes include; nothing else in a bundle does. Format 1
also had lines `cut` for what retention took out, which the events `trail.prune` record under signed heads.

A bundle holds no value of a secret, as the audit log itself holds none.

Before retention removes what a bundle holds, the file is read back and proves that it holds all that a
checkpoint signed. That check believes nothing but the checkpoint and Keeper's keys, and uses no database.
docs/verify_offline.py does the like for others, who do not have the keys.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from audit_app.checkpoints.inspection import newest_checkpoint
from audit_app.checkpoints.signing import signed
from audit_app.crypto.checkpoint_statement import Head, SignedCheckpoint
from audit_app.crypto.hash_chain import (
    Link,
    canonical_bytes,
    event_hash,
    genesis,
    listed_entry,
    manifest_digest,
)
from audit_app.errors import BadBundle, BadCheckpoint
from audit_app.interfaces import Purpose, keyring
from audit_app.models import (
    LISTED_COLUMNS,
    AuditEvent,
    Checkpoint,
    ReadManifest,
    ReadManifestItem,
    deployment_uuid,
)
from audit_app.recording import event_store
from audit_app.verification.prune_records import PruneRecord, newest_prune_records, prune_records_of
from audit_app.verification.stream_verifier import all_streams, stored_heads
from core.canonical_json import canonical_json, utc_text
from core.db.bulk import in_batches
from core.errors import BadDetails

_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One bundle, from the events of its cuts; `at` is UTC text, `removed` and `kept` count events."""

    name: str
    sha256: str
    at: str
    actor: str
    operator: str
    checkpoint: int
    streams: int
    removed: int
    kept: int

    @property
    def path(self) -> Path:
        return Path(settings.KEEPER_AUDIT_ARCHIVE_DIR) / self.name

    @property
    def lies_here(self) -> bool:
        """Whether KEEPER_AUDIT_ARCHIVE_DIR has a file of its name; false after an operator moved it."""
        return self.path.is_file()

    def is_unchanged(self) -> bool:
        """Return whether the file is the one that was sealed; reads all of it. Raises OSError."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest() == self.sha256


def bundles() -> list[Bundle]:
    """Return every bundle that a cut of any stream names, the newest first."""
    parts: dict[str, list[PruneRecord]] = {}
    for stream in sorted(newest_prune_records()):
        for cut in prune_records_of(stream):
            parts.setdefault(cut.sha256, []).append(cut)
    return sorted(map(_bundle, parts.values()), key=lambda bundle: bundle.at, reverse=True)


def _bundle(cuts: list[PruneRecord]) -> Bundle:
    last = max(cuts, key=lambda cut: cut.at)
    return Bundle(
        # A name and no path: it comes from an event, and is looked for in one folder.
        name=Path(last.bundle).name,
        sha256=last.sha256,
        at=last.at,
        actor=last.actor,
        operator=last.operator,
        checkpoint=last.checkpoint,
        streams=len({cut.stream for cut in cuts}),
        removed=sum(cut.removed for cut in cuts),
        kept=sum(cut.kept for cut in cuts),
    )


_UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError)


def require_whole(path: Path, *, checkpoint: SignedCheckpoint, cuts: Mapping[str, PruneRecord]) -> str:
    """Return a file's SHA-256. Raises BadBundle unless it is a whole bundle up to a checkpoint.

    `cuts` are the last cuts of streams: what they kept comes first, and the chain continues behind.
    """
    check = _Check(checkpoint, cuts)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for line in file:
                digest.update(line)
                check.take(json.loads(line))
    except OSError as error:
        raise BadBundle(f"the bundle cannot be read back: {error.strerror}") from error
    except _UNREADABLE as error:
        raise BadBundle("the bundle holds a line that is none of a bundle") from error
    check.end()
    return digest.hexdigest()


class _Check:
    """Where a reading of a bundle has come to."""

    def __init__(self, checkpoint: SignedCheckpoint, cuts: Mapping[str, PruneRecord]) -> None:
        self._checkpoint, self._cuts = checkpoint, cuts
        self._heads: dict[str, Head] = {}
        self._counts: Counter[str] = Counter()
        self._claimed: dict[str, int] | None = None
        self._manifests: set[str] = set()
        self._wanted: set[str] = set()
        self._has_checkpoint = False

    def take(self, line: dict[str, Any]) -> None:
        kind = line["kind"]
        if self._claimed is not None:
            raise BadBundle("something follows the end of the bundle")
        if kind == "event":
            self._event(line)
        elif kind == "manifest":
            if manifest_digest((str(UUID(uuid)), *rest) for uuid, *rest in line["read"]) != line["digest"]:
                raise BadBundle("a manifest in the bundle is not what was recorded")
            self._manifests.add(line["digest"])
        elif kind == "checkpoint":
            self._has_checkpoint = line["checkpoint"] == self._checkpoint.text
        elif kind == "end":
            self._claimed = line["counts"]
            return
        self._counts[kind] += kind != "bundle"

    def end(self) -> None:
        if self._claimed is None or any(self._counts[kind] != count for kind, count in self._claimed.items()):
            raise BadBundle("the bundle does not hold as much as it says")
        if not self._has_checkpoint:
            raise BadBundle("the bundle does not end with the checkpoint that covers it")
        for stream, head in self._checkpoint.statement.heads.items():
            if self._heads.get(stream, self._start(stream)) != head:
                raise BadBundle(f"the bundle does not reach what the checkpoint names of stream {stream}")
        if self._wanted - self._manifests:
            raise BadBundle("the bundle lacks a manifest")

    def _event(self, line: dict[str, Any]) -> None:
        stream, text = line["stream"], line["text"]
        fields, previous, link = (
            json.loads(text),
            bytes.fromhex(line["previous"]),
            bytes.fromhex(line["hash"]),
        )
        own = fields["stream"] == stream and event_hash(previous, text.encode()) == link
        if not own or not keyring().verify(Purpose.AUDIT_MAC, link, bytes.fromhex(line["mac"])):
            raise BadBundle(f"event {stream} #{fields['sequence']} in the bundle is not what was recorded")
        if fields["manifest"]:
            self._wanted.add(fields["manifest"])
        cut = self._cuts.get(stream)
        if cut and fields["sequence"] <= cut.through:
            return
        head = self._heads.get(stream, self._start(stream))
        if fields["sequence"] != head.sequence + 1 or previous != head.hash:
            raise BadBundle(f"events before {stream} #{fields['sequence']} are missing in the bundle")
        self._heads[stream] = Head(fields["sequence"], link)

    def _start(self, stream: str) -> Head:
        cut = self._cuts.get(stream)
        deployment = self._checkpoint.statement.deployment
        return cut.head if cut else Head(0, genesis(deployment, stream))


FORMAT: Final = "keeper-audit-bundle/2"
_ROWS_PER_QUERY: Final = 2_000
_MANIFESTS_PER_QUERY: Final = 200
# The heads of a checkpoint are read when its time is already taken: some events of that time are in it.
_SIGNING_TAKES: Final = timedelta(minutes=5)


def bundle(streams: Sequence[str] | None = None, *, after: SignedCheckpoint | None = None) -> Iterator[bytes]:
    """Yield the lines of a bundle: of all streams, or of those named; memory stays flat.

    With `after` it is a segment: each stream begins after the head that this checkpoint signs. One of which
    retention took events out since begins with its first event.
    Call it in a `snapshot`, so that all lines are as of one moment. What is damaged is written as it is
    stored, for the verifier to name. Raises BadBundle for a stream that does not exist, and while no
    checkpoint covers what retention took out.
    """
    heads, existing = stored_heads(), all_streams()
    if unknown := sorted({*(streams or ())} - {*existing}):
        raise BadBundle(
            f"there is no stream {', '.join(unknown)}: `keeper audit-export` without --stream has all"
        )
    newest = newest_checkpoint()
    covered = newest.statement.heads if newest else {}
    names = sorted({*existing, *heads} if streams is None else {*streams})
    cuts = newest_prune_records()
    for name, cut in cuts.items():
        if name in names and newest and (name not in covered or covered[name].sequence < cut.sequence):
            raise BadBundle(
                "retention took events out after the newest checkpoint: run `keeper checkpoint` first, then "
                "export again"
            )
    begins = {
        name: head.sequence
        for name, head in (after.statement.heads.items() if after else ())
        if name in names and (name not in cuts or cuts[name].through <= head.sequence)
    }
    extent = _Extent(streams, names, heads, begins, timezone.now(), after.number if after else 0)
    yield from _lines(extent, newest=2**62)


def checkpoint_before(at: datetime) -> SignedCheckpoint | None:
    """Return the newest checkpoint whose heads hold no event of a time or later; None if there is none."""
    row = Checkpoint.objects.filter(at__lte=at - _SIGNING_TAKES).order_by("number").last()
    try:
        return signed(row) if row else None
    except BadCheckpoint:
        # It was edited: then the bundle begins with the first event, and shows that.
        return None


def bundle_until(checkpoint: SignedCheckpoint) -> Iterator[bytes]:
    """Yield the lines of a bundle of all streams as a checkpoint signed them, and of nothing later.

    It begins where the bundle of the last cut ended.
    """
    heads = checkpoint.statement.heads
    begins = {cut.stream: cut.through for cut in newest_prune_records().values() if cut.stream in heads}
    extent = _Extent(None, sorted(heads), heads, begins, checkpoint.statement.at)
    yield from _lines(extent, newest=checkpoint.number)


class _Extent(NamedTuple):
    """What a bundle holds: all streams, or those named, from where they begin up to their heads."""

    streams: Sequence[str] | None
    names: Sequence[str]
    heads: Mapping[str, Head]
    begins: Mapping[str, int]
    as_of: datetime
    # Of a segment: the number of the checkpoint after which it begins.
    after: int = 0


def _lines(extent: _Extent, *, newest: int) -> Iterator[bytes]:
    counts = {"checkpoint": 0, "manifest": 0, "event": 0}
    yield _line(
        "bundle",
        format=FORMAT,
        deployment=str(deployment_uuid()),
        as_of=utc_text(extent.as_of),
        streams=extent.names,
        begins=extent.begins,
        whole=extent.streams is None,
        **({"after": extent.after} if extent.after else {}),
    )
    parts = [("checkpoint", _checkpoints(extent.after, newest)), ("manifest", _manifests(extent))]
    for name in extent.names:
        head = extent.heads.get(name)
        parts.append(("event", _events(name, extent.begins.get(name, 0), head.sequence if head else 2**62)))
    for kind, lines in parts:
        for line in lines:
            counts[kind] += 1
            yield line
    yield _line("end", counts=counts)


def _checkpoints(first: int, newest: int) -> Iterator[bytes]:
    rows = Checkpoint.objects.filter(number__range=(first, newest)).order_by("number")
    for statement, signature in rows.values_list("statement", "signature").iterator(chunk_size=200):
        yield _line("checkpoint", checkpoint=statement, signature=bytes(signature).hex())


def _manifests(extent: _Extent) -> Iterator[bytes]:
    """Yield the manifests that events of the bundle name, and no others: they hold names of secrets."""
    for manifest in _named_manifests(extent):
        items = ReadManifestItem.objects.filter(manifest=manifest)
        rows = items.values_list(*LISTED_COLUMNS)
        entries = sorted(listed_entry(str(uuid), *rest) for uuid, *rest in rows)
        yield _line("manifest", digest=manifest.digest, read=entries)


def _named_manifests(extent: _Extent) -> Iterator[ReadManifest]:
    chosen = ReadManifest.objects.all()
    if extent.after:
        named = set[int]()
        for name in extent.names:
            events = AuditEvent.objects.filter(stream=name, sequence__gt=extent.begins.get(name, 0))
            named.update(events.exclude(manifest=None).values_list("manifest", flat=True).distinct())
        for pks in in_batches(sorted(named), _MANIFESTS_PER_QUERY):
            yield from chosen.filter(pk__in=pks).order_by("pk")
        return
    if extent.streams is not None:
        chosen = chosen.filter(events__stream__in=extent.streams).distinct()
    last = 0
    while batch := list(chosen.filter(pk__gt=last).order_by("pk")[:_MANIFESTS_PER_QUERY]):
        yield from batch
        last = batch[-1].pk


def _events(stream: str, last: int, until: int) -> Iterator[bytes]:
    while batch := event_store.links(stream, after=last, until=until, limit=_ROWS_PER_QUERY):
        for link in batch:
            yield _line(
                "event",
                stream=stream,
                text=_text(link),
                previous=link.previous_hash.hex(),
                hash=link.hash.hex(),
                mac=link.mac.hex(),
            )
        last = batch[-1].fields.sequence


def _text(link: Link) -> str:
    try:
        return canonical_bytes(link.fields).decode()
    except BadDetails:
        # Edited to a value that Keeper never writes: no text matches the event's hash.
        return ""


def _line(kind: str, **said: Any) -> bytes:
    return canonical_json({"kind": kind, **said}) + b"\n"
