"""The cuts that retention made: which events of a stream are gone on purpose, by whom, and where they are.

A cut takes events `after` < sequence <= `through` out of a stream. It leaves an event of its own in the
stream, further on, which the chain and the checkpoints cover like any other: that event names the hash of
the last event of the range, from where verification continues, and a digest over the events that were kept
(`retention/rules.py`), each of which still proves by its own MAC that Keeper wrote it. See ADR 13.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django.db.models import Max

from audit_app.crypto.checkpoint_statement import Head
from audit_app.events.actions import Action
from audit_app.integrity.check_registry import Problem
from audit_app.models import AuditEvent
from audit_app.recording import event_store
from audit_app.verification.stream_walker import VerificationStats, has_valid_mac, stream_problem
from core.canonical_json import parsed_details

_ROWS_PER_QUERY: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class PruneRecord:
    """One cut, from its event: `link` is the hash of event `through`, `kept` how many stay."""

    stream: str
    sequence: int
    at: str
    actor: str
    after: int
    through: int
    link: bytes
    kept: int
    digest: str
    removed: int
    checkpoint: int
    bundle: str
    sha256: str
    operator: str

    @property
    def head(self) -> Head:
        """The link before the first event that follows the cut."""
        return Head(self.through, self.link)


class RetainedDigest:
    """The digest over what a cut kept: each event's sequence and hash, in order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256(b"keeper/v1/kept-events")
        self.count = 0

    def add(self, sequence: int, link: bytes) -> None:
        self._hash.update(sequence.to_bytes(8, "big") + link)
        self.count += 1

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def prune_records_of(stream: str) -> Iterator[PruneRecord]:
    """Yield a stream's cuts, oldest first; an event that Keeper did not write makes none."""
    events = AuditEvent.objects.filter(stream=stream, action=Action.TRAIL_PRUNE)
    for sequence in events.order_by("sequence").values_list("sequence", flat=True):
        if record := _cut_at(stream, sequence):
            yield record


def newest_prune_records() -> dict[str, PruneRecord]:
    """Return the last cut of each stream that was ever cut."""
    events = AuditEvent.objects.filter(action=Action.TRAIL_PRUNE).order_by()
    newest = events.values_list("stream").annotate(Max("sequence"))
    records = [_cut_at(stream, sequence) for stream, sequence in newest]
    return {cut.stream: cut for cut in records if cut}


def newest_cut(stream: str) -> PruneRecord | None:
    """Return the last cut of a stream."""
    events = AuditEvent.objects.filter(stream=stream, action=Action.TRAIL_PRUNE)
    sequence = events.order_by("-sequence").values_list("sequence", flat=True).first()
    return None if sequence is None else _cut_at(stream, sequence)


def retained_problems(stream: str, tally: VerificationStats) -> Iterator[Problem]:
    """Yield the first thing wrong with what the cuts of a stream kept, or with their succession."""
    last = 0
    for cut in prune_records_of(stream):
        tally.cut += cut.removed
        if cut.after != last or cut.through <= last:
            yield stream_problem("missing", stream, last + 1, "the record of a cut is missing")
            return
        damage = _kept_damage(cut, tally)
        if damage is not None:
            yield damage
            return
        last = cut.through


def _cut_at(stream: str, sequence: int) -> PruneRecord | None:
    for link in event_store.links(stream, after=sequence - 1, until=sequence, limit=1):
        if has_valid_mac(link):
            details = parsed_details(link.fields.details)
            fields = link.fields
            return PruneRecord(
                stream=fields.stream,
                sequence=fields.sequence,
                at=fields.at,
                actor=fields.actor_name,
                after=details["after"],
                through=details["through"],
                link=bytes.fromhex(details["hash"]),
                kept=details["kept"],
                digest=details["digest"],
                removed=details["removed"],
                checkpoint=details["checkpoint"],
                bundle=details["bundle"],
                sha256=details["sha256"],
                operator=details["operator"],
            )
    return None


def _kept_damage(cut: PruneRecord, tally: VerificationStats) -> Problem | None:
    """Return what is wrong with the events of a cut's range that are still here."""
    digest, last = RetainedDigest(), cut.after
    while batch := event_store.links(cut.stream, after=last, until=cut.through, limit=_ROWS_PER_QUERY):
        for link in batch:
            if not has_valid_mac(link):
                message = "the event, which a cut kept, is not the one that was recorded"
                return stream_problem("edited", cut.stream, link.fields.sequence, message)
            digest.add(link.fields.sequence, link.hash)
        last = batch[-1].fields.sequence
    tally.events += digest.count
    if digest.hexdigest() == cut.digest:
        return None
    kind = "missing" if digest.count < cut.kept else "inserted"
    message = f"a cut kept {cut.kept} of events {cut.after + 1} to {cut.through}, and these are not those"
    return stream_problem(kind, cut.stream, cut.after + 1, message)
