"""Events as JSON lines for other systems, from a cursor in each stream.

A cursor is a stream's sequence, since events of one stream are committed in that order. Ids are
not: the higher of two may be committed first, and a cursor over them would leave the other one out.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from django.db.models import F, Sum

from audit_app.crypto.canonical_json import canonical_json, parsed_details
from audit_app.crypto.hash_chain import Link
from audit_app.models import SinkState, StreamCursor, StreamHead
from audit_app.recording import event_store

_LINES_PER_BATCH: Final = 500


def begin_events(state: SinkState) -> None:
    """Let a new sink begin with what happens from now on; `keeper audit-export` gives what was before."""
    heads = StreamHead.objects.values_list("stream", "sequence")
    StreamCursor.objects.bulk_create(
        [StreamCursor(sink=state, stream=stream, sequence=sequence) for stream, sequence in heads],
        ignore_conflicts=True,
    )


def batches(state: SinkState) -> Iterator[tuple[str, int, list[bytes]]]:
    """Yield (stream, sequence of the first, lines) of what a sink has not taken, each stream in order."""
    cursors = dict(state.cursors.values_list("stream", "sequence"))
    for stream, head in StreamHead.objects.order_by("stream").values_list("stream", "sequence"):
        last = cursors.get(stream, 0)
        while last < head and (
            links := event_store.links(stream, after=last, until=head, limit=_LINES_PER_BATCH)
        ):
            # After a removal of events the remaining ones are still sent.
            yield stream, links[0].fields.sequence, [_line(link) for link in links]
            last = links[-1].fields.sequence


def taken(state: SinkState, stream: str, sequence: int) -> None:
    """Note that a sink has taken a stream up to a sequence."""
    StreamCursor.objects.update_or_create(sink=state, stream=stream, defaults={"sequence": sequence})


def lag(states: Iterable[SinkState]) -> int:
    """Return how many events the last of these sinks has still to take."""
    heads = StreamHead.objects.aggregate(total=Sum(F("sequence")))["total"] or 0
    taken_by = [state.cursors.aggregate(total=Sum("sequence"))["total"] or 0 for state in states]
    return max((heads - each for each in taken_by), default=0)


def _line(link: Link) -> bytes:
    said = link.fields
    return (
        canonical_json(
            {
                "id": said.uuid,
                "stream": said.stream,
                "sequence": said.sequence,
                "at": said.at,
                "actor": {"kind": said.actor_kind, "id": said.actor_uuid, "name": said.actor_name},
                "action": said.action,
                "object": {"kind": said.object_kind, "id": said.object_uuid, "name": said.object_name},
                "outcome": said.outcome,
                "address": said.address,
                "request_id": said.request_id,
                "details": parsed_details(said.details),
                "manifest": said.manifest_digest,
                "hash": link.hash.hex(),
            }
        )
        + b"\n"
    )
