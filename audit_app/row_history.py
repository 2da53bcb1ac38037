"""Holds authenticated rows against the trail, so that an old state put back by SQL is found.

A MAC proves that Keeper once wrote a row, not that the row still stands: a revoked membership
could be inserted again as it was. So the event of a change carries a digest of the MAC of each row
that it left behind, and the newest event about a row says what the row must be now.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from audit_app.actions import Outcome
from audit_app.canonical import Json
from audit_app.integrity import Problem
from audit_app.models import AuditEvent
from audit_app.row_mac import AuthenticatedRow

_DETAIL: Final = "rows"
_BATCH: Final = 500


class LastState(NamedTuple):
    """What the newest event about a row says: a digest of its MAC, or None once the row is gone."""

    digest: str | None
    stream: str
    sequence: int


def row_state(row: AuthenticatedRow, *, gone: bool = False) -> dict[str, Json]:
    """Return what the event of a change says of a row that it wrote, or deleted (`gone`).

    Call it after the row was saved, since saving computes the MAC.
    """
    return {_DETAIL: {str(row.uuid): None if gone else _digest(row.row_mac)}}


def last_states(
    actions: Iterable[str], *, rows: Iterable[AuthenticatedRow] | None = None
) -> dict[str, LastState]:
    """Return the last recorded state of rows by their uuid, of the given actions' events.

    With `rows`, only of events whose object is one of them; else of all such events.
    """
    events = AuditEvent.objects.filter(action__in=list(actions), outcome=Outcome.ALLOWED)
    if rows is not None:
        events = events.filter(object_uuid__in=[row.uuid for row in rows])
    found: dict[str, LastState] = {}
    columns = events.order_by("id").values_list("details", "stream", "sequence")
    for details, stream, sequence in columns.iterator(chunk_size=_BATCH):
        # Most events name no row; looking for the key is much cheaper than parsing.
        if f'"{_DETAIL}"' in details:
            for uuid, digest in json.loads(details).get(_DETAIL, {}).items():
                found[uuid] = LastState(digest, stream, sequence)
    return found


def contradictions(rows: Sequence[AuthenticatedRow], states: Mapping[str, LastState]) -> Iterator[Problem]:
    """Yield each row that is not as the newest event about it says; rows without one are passed over.

    `states` must have been read after the rows. A row that was changed or removed meanwhile is
    passed over as well: its event came with the change, so that the next run judges it.
    """
    for row in rows:
        state = states.get(str(row.uuid))
        if state is None or state.digest == _digest(row.row_mac) or not _still_stands(row):
            continue
        was = "was removed" if state.digest is None else "was changed later"
        yield Problem(
            kind="replayed",
            object=f"{row.MAC_LABEL} {row.pk} ({row.uuid})",
            message=f"an old state was put back: the trail says that the row {was}",
            stream=state.stream,
            sequence=state.sequence,
        )


def _digest(row_mac: bytes) -> str:
    """Return what the trail keeps of a MAC: enough to compare, and no MAC for who may read the trail."""
    return hashlib.sha256(bytes(row_mac)).hexdigest()[:32]


def _still_stands(row: AuthenticatedRow) -> bool:
    now = type(row)._default_manager.filter(pk=row.pk).values_list("row_mac", flat=True).first()  # noqa: SLF001 - any model
    return now is not None and bytes(now) == bytes(row.row_mac)
