"""Writes the audit log as a bundle that can be verified without Keeper (docs/verify_offline.py).

A bundle is one file of JSON lines, each with its `kind`:

    bundle      once, first: format, deployment, when it was made, which streams it holds
    cut         events of a stream that retention took out, which an event further on records
    event       in the order of its stream: the canonical text that was hashed, previous hash, hash, MAC
    manifest    what an event about many read or created, which events name by its digest: each secret's uuid,
                the version's number and the name; of one that was created, two digests besides
    checkpoint  what was signed, in the order of its number, as the sinks hold it
    end         once, last: how many of each, so that a bundle cut short shows it

It holds no value of a secret, as the audit log itself holds none.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.db.models import Max
from django.utils import timezone

from audit_app.crypto.canonical_json import canonical_json, utc_text
from audit_app.crypto.checkpoint_statement import Head, SignedCheckpoint
from audit_app.crypto.hash_chain import Link, canonical_bytes, listed_entry
from audit_app.errors import BadDetails
from audit_app.models import LISTED_COLUMNS, Checkpoint, ReadManifest, ReadManifestItem, deployment_uuid
from audit_app.recording import event_store
from audit_app.verification.prune_records import prune_records_of
from audit_app.verification.stream_verifier import all_streams, stored_heads

FORMAT: Final = "keeper-audit-bundle/1"
_ROWS_PER_QUERY: Final = 2_000
_MANIFESTS_PER_QUERY: Final = 200


def bundle(streams: Sequence[str] | None = None) -> Iterator[bytes]:
    """Yield the lines of a bundle: of all streams, or of those named; memory stays flat.

    What is recorded in the meantime is left out. What is damaged is written as it is stored, for the verifier
    to name.
    """
    # Before the heads, so that these have reached what the checkpoints name.
    newest = Checkpoint.objects.aggregate(newest=Max("number"))["newest"] or 0
    heads = {name: head for name, head in stored_heads().items() if streams is None or name in streams}
    names = sorted(heads) if streams is not None else sorted({*all_streams(), *heads})
    yield from _lines(streams, names, heads, newest)


def bundle_until(checkpoint: SignedCheckpoint) -> Iterator[bytes]:
    """Yield the lines of a bundle of all streams as a checkpoint signed them, and of nothing later."""
    heads = checkpoint.statement.heads
    yield from _lines(None, sorted(heads), heads, checkpoint.number)


def _lines(
    streams: Sequence[str] | None, names: Sequence[str], heads: Mapping[str, Head], newest: int
) -> Iterator[bytes]:
    counts = {"cut": 0, "checkpoint": 0, "manifest": 0, "event": 0}
    yield _line(
        "bundle",
        format=FORMAT,
        deployment=str(deployment_uuid()),
        made_at=utc_text(timezone.now()),
        streams=names,
        whole=streams is None,
    )
    parts = [
        ("cut", _cuts(names)),
        ("checkpoint", _checkpoints(newest)),
        ("manifest", _manifests(streams)),
    ]
    for kind, lines in [*parts, *(("event", _events(name, heads.get(name))) for name in names)]:
        for line in lines:
            counts[kind] += 1
            yield line
    yield _line("end", counts=counts)


def _cuts(names: Sequence[str]) -> Iterator[bytes]:
    for name in names:
        for cut in prune_records_of(name):
            yield _line(
                "cut",
                stream=name,
                sequence=cut.sequence,
                after=cut.after,
                through=cut.through,
                hash=cut.link.hex(),
                kept=cut.kept,
                digest=cut.digest,
            )


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


def _events(stream: str, head: Head | None) -> Iterator[bytes]:
    last = 0
    until = head.sequence if head else 2**62
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
