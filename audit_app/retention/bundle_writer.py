"""Writes the audit log as a bundle that can be verified without Keeper (docs/verify_offline.py).

A bundle is one file of JSON lines, each with its `kind`:

    bundle      once, first: format, deployment, `as_of` (its time), its streams, and after which event those
                begin whose beginning an earlier bundle holds
    checkpoint  what was signed, in the order of its number, as the sinks hold it
    manifest    what an event about many read or created, which events name by its digest: each secret's uuid,
                the version's number and the name; of one that was created, two digests besides
    event       in the order of its stream: the canonical text that was hashed, previous hash, hash, MAC
    end         once, last: how many of each, so that a bundle cut short shows it

The signed heads of the checkpoints prove what their hashes include; nothing else in a bundle does. Format 1
also had lines `cut` for what retention took out, which the events `trail.prune` record under signed heads.

It holds no value of a secret, as the audit log itself holds none.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.utils import timezone

from audit_app.checkpoints.trail_inspection import newest_checkpoint
from audit_app.crypto.canonical_json import canonical_json, utc_text
from audit_app.crypto.checkpoint_statement import Head, SignedCheckpoint
from audit_app.crypto.hash_chain import Link, canonical_bytes, listed_entry
from audit_app.errors import BadBundle
from audit_app.models import LISTED_COLUMNS, Checkpoint, ReadManifest, ReadManifestItem, deployment_uuid
from audit_app.recording import event_store
from audit_app.verification.prune_records import newest_prune_records
from audit_app.verification.stream_verifier import all_streams, stored_heads
from core.errors import BadDetails

FORMAT: Final = "keeper-audit-bundle/2"
_ROWS_PER_QUERY: Final = 2_000
_MANIFESTS_PER_QUERY: Final = 200


def bundle(streams: Sequence[str] | None = None) -> Iterator[bytes]:
    """Yield the lines of a bundle: of all streams, or of those named; memory stays flat.

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
    signed = newest.statement.heads if newest else {}
    names = sorted({*existing, *heads} if streams is None else {*streams})
    for name, cut in newest_prune_records().items():
        if name in names and newest and (name not in signed or signed[name].sequence < cut.sequence):
            raise BadBundle(
                "retention took events out after the newest checkpoint: run `keeper checkpoint` first, then "
                "export again"
            )
    yield from _lines(_Extent(streams, names, heads, {}, timezone.now()), newest=2**62)


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
    )
    parts = [("checkpoint", _checkpoints(newest)), ("manifest", _manifests(extent.streams))]
    for name in extent.names:
        head = extent.heads.get(name)
        parts.append(("event", _events(name, extent.begins.get(name, 0), head.sequence if head else 2**62)))
    for kind, lines in parts:
        for line in lines:
            counts[kind] += 1
            yield line
    yield _line("end", counts=counts)


def _checkpoints(newest: int) -> Iterator[bytes]:
    rows = Checkpoint.objects.filter(number__lte=newest).order_by("number")
    for statement, signature in rows.values_list("statement", "signature").iterator(chunk_size=200):
        yield _line("checkpoint", checkpoint=statement, signature=bytes(signature).hex())


def _manifests(streams: Sequence[str] | None) -> Iterator[bytes]:
    """Yield the manifests that events of these streams name, and no others: they hold names of secrets."""
    chosen = ReadManifest.objects.all()
    if streams is not None:
        chosen = chosen.filter(events__stream__in=streams).distinct()
    last = 0
    while batch := list(chosen.filter(pk__gt=last).order_by("pk")[:_MANIFESTS_PER_QUERY]):
        for manifest in batch:
            items = ReadManifestItem.objects.filter(manifest=manifest)
            rows = items.values_list(*LISTED_COLUMNS)
            read = sorted(listed_entry(str(uuid), *rest) for uuid, *rest in rows)
            yield _line("manifest", digest=manifest.digest, read=read)
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
