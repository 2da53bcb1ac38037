"""Verifies streams of the audit log as a whole, or one event with its neighbours in the chain.

A stream is verified from its first event to its head, along with the manifests of what was read. Of each
neighbour it is said whether it is what Keeper recorded.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Final

from audit_app.crypto.checkpoint_statement import Head
from audit_app.crypto.hash_chain import Link, damage, genesis, listed_entry, manifest_digest
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.integrity.check_registry import Problem, readable
from audit_app.interfaces import Purpose, keyring
from audit_app.models import (
    LISTED_COLUMNS,
    AuditEvent,
    ReadManifest,
    ReadManifestItem,
    StreamHead,
    deployment_uuid,
)
from audit_app.recording import event_store
from audit_app.verification.prune_records import newest_cut, retained_problems
from audit_app.verification.stream_walker import (
    VerificationStats,
    digest_of_stored,
    first_damage,
    has_valid_mac,
    stream_problem,
)

_MANIFESTS_PER_QUERY = 200

# The hashes that checkpoints state for streams.
KnownHeads = Mapping[str, Sequence[Head]]


def verify(
    stream: str | None = None, *, known: KnownHeads | None = None, tally: VerificationStats | None = None
) -> Iterator[Problem]:
    """Yield the first damage of each stream, then of each manifest; nothing if all is sound.

    Memory stays flat, and events may be appended in the meantime. With `stream` only that one is
    verified. `known` are the heads that checkpoints name: without, a tail that was cut off together
    with its head is not missed.
    """
    tally, named_heads = tally or VerificationStats(), known or {}
    if stream is not None:
        yield from readable(_verify_stream(stream, tally, named_heads), f"stream {stream}")
        return
    yield from readable(_dropped_streams(), "the list of streams")
    for name in sorted({*all_streams(), *named_heads}):
        yield from readable(_verify_stream(name, tally, named_heads), f"stream {name}")
    yield from readable(_verify_manifests(tally), "the lists of what was read or created")


def _verify_stream(stream: str, tally: VerificationStats, named_heads: KnownHeads) -> Iterator[Problem]:
    """Verify a stream, again from its beginning if retention cut it in the meantime."""
    tally.streams += 1
    while True:
        cut = newest_cut(stream)
        problems = list(_stream_problems(stream, tally, named_heads))
        if not problems or newest_cut(stream) == cut:
            break
    yield from problems


def _stream_problems(stream: str, tally: VerificationStats, known: KnownHeads) -> Iterator[Problem]:
    named: Iterable[Head] = known.get(stream, ())
    last, head = beginning(stream), stored_head(stream)
    if head is None:
        yield stream_problem("missing", stream, None, "the head of the stream is missing")
        return
    before = [*retained_problems(stream, tally), *_forked_cut(stream, last, named)]
    if before:
        yield before[0]
        return
    while True:
        damage_found = first_damage(stream, after=last, until=head, known=named, tally=tally)
        if damage_found is not None:
            yield damage_found
            return
        named = ()
        last, head = head, stored_head(stream) or head
        if head == last:
            break
    yield from _surplus(stream, last.sequence, tally)


def beginning(stream: str) -> Head:
    """Return the link before the first event of a stream, or before the first that was not pruned."""
    cut = newest_cut(stream)
    return cut.head if cut else Head(0, genesis(deployment_uuid(), stream))


def _forked_cut(stream: str, start: Head, named: Iterable[Head]) -> Iterator[Problem]:
    """Hold the place that a cut continues from against a checkpoint that names just that one."""
    if any(head.sequence == start.sequence and head.hash != start.hash for head in named):
        message = "the cut does not go on from the event that a checkpoint names"
        yield stream_problem("forked", stream, start.sequence, message)


def _surplus(stream: str, sequence: int, tally: VerificationStats) -> Iterator[Problem]:
    """Look for events behind the head, and continue if they were appended just now."""
    extra = AuditEvent.objects.filter(stream=stream, sequence__gt=sequence).order_by("sequence")
    row = extra.values_list("sequence", flat=True).first()
    below = (
        AuditEvent.objects.filter(stream=stream, sequence__lt=1).values_list("sequence", flat=True).first()
    )
    if below is not None:
        yield stream_problem("inserted", stream, below, "an event stands before the first one")
    if row is None:
        return
    head = stored_head(stream)
    if head is not None and head.sequence >= row:
        yield from _stream_problems(stream, tally, {})
        return
    yield stream_problem("inserted", stream, row, "an event stands behind the head of the stream")


def stored_head(stream: str) -> Head | None:
    """Return the head of a stream, if it exists."""
    row = StreamHead.objects.filter(stream=stream).values_list("sequence", "hash").first()
    return None if row is None else Head(row[0], event_store.stored_bytes(row[1]))


def stored_heads() -> dict[str, Head]:
    """Return the heads of all streams, as of one moment."""
    rows = StreamHead.objects.order_by("stream").values_list("stream", "sequence", "hash")
    return {stream: Head(sequence, event_store.stored_bytes(link)) for stream, sequence, link in rows}


def all_streams() -> list[str]:
    """Return every stream that has a head or an event, by skipping through the index."""
    names = set(StreamHead.objects.values_list("stream", flat=True))
    last: str | None = ""
    while last is not None:
        following = AuditEvent.objects.filter(stream__gt=last).order_by("stream", "sequence")
        name = following.values_list("stream", flat=True).first()
        if name is not None:
            names.add(name)
        # SQLite sorts bytes behind every text: a name that is none would follow itself for ever.
        last = name if name != last else None
    return sorted(names)


def _dropped_streams() -> Iterator[Problem]:
    """Compare the existing streams with those that the system stream records as opened."""
    # A stream that begins meanwhile is in what is read last.
    opened, existing = _opened_streams(), set(all_streams())
    if existing and streams.SYSTEM not in existing:
        yield stream_problem("missing", streams.SYSTEM, None, "the stream is missing")
    for name in sorted(opened - existing):
        yield stream_problem("missing", name, None, "the stream is missing")
    for name in sorted(existing - {streams.SYSTEM} - _opened_streams()):
        yield stream_problem("inserted", name, None, "the stream was never opened by Keeper")


def _opened_streams() -> set[str]:
    opened = AuditEvent.objects.filter(stream=streams.SYSTEM, action=Action.STREAM_OPEN)
    return set(opened.values_list("object_name", flat=True))


def _verify_manifests(tally: VerificationStats) -> Iterator[Problem]:
    last = 0
    while manifests := list(ReadManifest.objects.filter(pk__gt=last).order_by("pk")[:_MANIFESTS_PER_QUERY]):
        items = ReadManifestItem.objects.filter(manifest__in=manifests).order_by("manifest_id")
        rows = items.values_list("manifest_id", *LISTED_COLUMNS).iterator()
        digests = {
            pk: digest_of_stored(listed_entry(str(uuid), *rest) for _, uuid, *rest in group)
            for pk, group in groupby(rows, key=itemgetter(0))
        }
        empty = manifest_digest(())
        for manifest in manifests:
            tally.manifests += 1
            if digests.get(manifest.pk, empty) != manifest.digest:
                event = manifest.events.order_by("pk").values_list("stream", "sequence").first()
                stream, sequence = event or ("", None)
                yield Problem(
                    kind="edited",
                    stream=stream,
                    sequence=sequence,
                    object=f"manifest {manifest.digest[:12]}",
                    message="the list of what was read or created is not the one that was recorded",
                )
        last = manifests[-1].pk


BESIDE: Final = 2


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """An event of the chain; `link_ok` is None where retention took out the event before it.

    `problem` names what is wrong with the event or its link, and is empty if nothing is.
    """

    event: AuditEvent
    mac_ok: bool
    link_ok: bool | None
    problem: str


def neighbourhood(event: AuditEvent) -> Sequence[Neighbour]:
    """Return an event between the BESIDE events before and after it in its stream, in order.

    A bounded number of statements. Raises KeyringUnavailable if the keys are not open.
    """
    first, last = event.sequence - BESIDE, event.sequence + BESIDE
    # The first of these is read for its hash alone, which the next one links to.
    links = event_store.links(event.stream, after=first - 2, until=last, limit=2 * BESIDE + 2)
    start = beginning(event.stream)
    hashes = {link.fields.sequence: link.hash for link in links}
    hashes[start.sequence] = start.hash
    rows = AuditEvent.objects.filter(stream=event.stream, sequence__gte=first, sequence__lte=last)
    by_number = {row.sequence: row for row in rows}
    return [
        _judged(link, by_number[link.fields.sequence], hashes.get(link.fields.sequence - 1), start.sequence)
        for link in links
        if link.fields.sequence in by_number
    ]


def _judged(link: Link, row: AuditEvent, previous: bytes | None, begins_at: int) -> Neighbour:
    """Judge a link by the hash before it; below the last cut there may be none, and the MAC alone decides."""
    sequence = link.fields.sequence
    if previous is None and sequence <= begins_at:
        genuine = has_valid_mac(link)
        problem = "" if genuine else "the event is not one that Keeper's key has written"
        return Neighbour(event=row, mac_ok=genuine, link_ok=None, problem=problem)
    if previous is None:
        return Neighbour(
            event=row, mac_ok=has_valid_mac(link), link_ok=False, problem="the event before it is missing"
        )
    fault = damage(link, sequence, previous, partial(keyring().verify, Purpose.AUDIT_MAC))
    return Neighbour(
        event=row,
        mac_ok=has_valid_mac(link),
        link_ok=link.previous_hash == previous,
        problem=fault.message if fault else "",
    )
