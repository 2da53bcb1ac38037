"""Retention: seals old events, writes them to a bundle outside, and takes out of the audit log what may go.

In this order, so that a crash anywhere loses nothing and leaves an audit log that verifies:

1. the newest checkpoint older than the given time is the limit, if every readable sink holds it;
2. all events up to it are verified, with their MACs, and no sink of events still lacks one;
3. a bundle of them is written, made durable, read back and proven whole (`bundles.py`);
4. by steps, each a transaction: an event records the cut (`prune_records.py`), and the events go.

`rules.py` decides what it takes. The next run continues one that was stopped.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

from django.db import transaction
from django.utils import timezone

from audit_app.checkpoints.anchors import divergent_anchors, fetch_anchors
from audit_app.checkpoints.signing import descent_problems, signed
from audit_app.crypto.checkpoint_statement import Head, SignedCheckpoint
from audit_app.errors import BadBundle, BadCheckpoint, NothingToPrune, PruneRefused
from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor
from audit_app.integrity.active_installation import is_active
from audit_app.models import AuditEvent, Checkpoint, SinkState
from audit_app.queries import search_index
from audit_app.recording import event_store
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record, record
from audit_app.retention.bundles import bundle_until, require_whole
from audit_app.retention.rules import OldEvent, is_passing, known_reads
from audit_app.sinks.registry import checkpoint_sinks, event_sinks
from audit_app.verification.prune_records import (
    RetainedDigest,
    newest_cut,
    newest_prune_records,
    retained_problems,
)
from audit_app.verification.stream_verifier import beginning
from audit_app.verification.stream_walker import VerificationStats
from core.canonical_json import utc_text
from core.files import sync_folder

# PCI DSS 4.0.1, 10.5.1: the last three months at hand (and twelve in all, which bundles count to).
MINIMUM_DAYS: Final = 90
# A transaction that writers of the stream wait for.
_EVENTS_PER_STEP: Final = 5_000
_ROWS_PER_QUERY: Final = 2_000

Progress = Callable[[str, int], None]


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """How far one stream would be cut, what goes, and the reads that stay as the newest of their kind."""

    stream: str
    after: int
    through: Head
    removed: int
    kept: int
    known: frozenset[int] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do; nothing has been changed yet."""

    checkpoint: SignedCheckpoint
    streams: list[StreamPlan]

    @property
    def removed(self) -> int:
        return sum(stream.removed for stream in self.streams)


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What a run did."""

    plan: Plan
    bundle: Path
    sha256: str
    removed: int


def plan(*, before: datetime) -> Plan:
    """Return what could be taken out of the events older than a time. Goes over the network.

    Raises PruneRefused if something has to be put right first, NothingToPrune if nothing would go,
    AnchorUnavailable if no sink answers.
    """
    checkpoint = _covering(before)
    _require_sound(checkpoint)
    for state in SinkState.objects.filter(name__in=[sink.name for sink in event_sinks()]):
        delivered = dict(state.cursors.values_list("stream", "sequence"))
        if any(
            delivered.get(stream, 0) < head.sequence for stream, head in checkpoint.statement.heads.items()
        ):
            raise PruneRefused(f"the sink {state.name} has not taken all of these events yet")
    planned = [stream_plan for stream_plan in _planned(checkpoint) if stream_plan.removed]
    if not planned:
        raise NothingToPrune("no event that retention may take out is older than that")
    return Plan(checkpoint=checkpoint, streams=planned)


def prune(
    *, actor: Actor, before: datetime, bundle: Path, operator: str, progress: Progress | None = None
) -> Pruned:
    """Write the events older than a time to a new bundle, and take out what may go.

    The event names `operator` as the person who ordered it; the caller checks the right. `progress(stream,
    removed)` is called after each step. Raises what `plan` raises, and BadBundle if the bundle cannot be
    written or is not what was recorded: then nothing is taken out.
    """
    chosen = plan(before=before)
    bundle_object = AuditObject("bundle", uuid4(), bundle.name[:200])
    commit_record(actor=actor, action=Action.TRAIL_EXPORT, stream=streams.SYSTEM, object=bundle_object)
    sha256 = _sealed(chosen.checkpoint, bundle)
    shared = _Record(
        actor=actor, object=bundle_object, sha256=sha256, checkpoint=chosen.checkpoint, operator=operator
    )
    removed = 0
    for stream_plan in chosen.streams:
        for step in _steps(stream_plan, shared):
            removed += step
            if progress:
                progress(stream_plan.stream, step)
    return Pruned(plan=chosen, bundle=bundle, sha256=sha256, removed=removed)


def _covering(before: datetime) -> SignedCheckpoint:
    """Return the newest checkpoint older than a time, if every readable sink holds it or a later one."""
    if before > timezone.now() - timedelta(days=MINIMUM_DAYS):
        raise PruneRefused(f"the last {MINIMUM_DAYS} days stay in the audit log")
    if not is_active():
        raise PruneRefused("this is not the active installation: see `keeper activate`")
    back = fetch_anchors()
    wrong = [*back.problems, *divergent_anchors(back.anchors)]
    if wrong:
        raise PruneRefused(f"{wrong[0].kind}: {wrong[0].object}: {wrong[0].message}")
    row = Checkpoint.objects.filter(at__lt=before).order_by("-number").first()
    if row is None:
        raise NothingToPrune("no checkpoint is older than that: nothing was signed by then")
    try:
        covering = signed(row)
    except BadCheckpoint as error:
        raise PruneRefused(f"checkpoint {row.number}: {error}") from error
    readable = [sink for sink in checkpoint_sinks() if sink.readable]
    holders = [anchor.sink for anchor in back.anchors if anchor.checkpoint.number >= covering.number]
    if not readable or len(holders) < len(readable):
        raise PruneRefused(
            "a sink of checkpoints does not hold what covers these events: see KEEPER_AUDIT_SINKS"
        )
    return covering


def _require_sound(checkpoint: SignedCheckpoint) -> None:
    """Raise PruneRefused unless all that would be sealed is what was recorded and signed."""
    for stream in checkpoint.statement.heads:
        for problem in retained_problems(stream, VerificationStats()):
            raise PruneRefused(f"{problem.kind}: {problem.object}: {problem.message}")
    heads = {
        stream: head
        for stream, head in checkpoint.statement.heads.items()
        if head.sequence >= beginning(stream).sequence
    }
    for problem in descent_problems(since={}, through={}, heads=heads):
        raise PruneRefused(f"{problem.kind}: {problem.object}: {problem.message}")


def _planned(checkpoint: SignedCheckpoint) -> Iterator[StreamPlan]:
    cuts = newest_prune_records()
    for stream, head in sorted(checkpoint.statement.heads.items()):
        after = cuts[stream].through if stream in cuts else 0
        if head.sequence <= after:
            continue
        last_reads = frozenset(known_reads(_old_events(stream, after, head.sequence)))
        count = removable = 0
        for event in _old_events(stream, after, head.sequence):
            count += 1
            removable += _goes(event, last_reads)
        yield StreamPlan(
            stream=stream,
            after=after,
            through=head,
            removed=removable,
            kept=count - removable,
            known=last_reads,
        )


def _goes(event: OldEvent, last_reads: frozenset[int]) -> bool:
    return is_passing(event) and event.sequence not in last_reads


def _old_events(stream: str, after: int, until: int) -> Iterator[OldEvent]:
    """Yield a stream's events with after < sequence <= until, in order; memory stays flat."""
    columns = (
        "pk", "sequence", "hash", "action", "outcome", "actor_uuid", "object_uuid", "details", "manifest_id",
    )  # fmt: skip
    rows = AuditEvent.objects.filter(stream=stream, sequence__lte=until).order_by("sequence")
    while batch := list(rows.filter(sequence__gt=after).values_list(*columns)[:_ROWS_PER_QUERY]):
        yield from map(OldEvent._make, batch)
        after = batch[-1][1]


def _sealed(checkpoint: SignedCheckpoint, bundle: Path) -> str:
    """Write a bundle durably, read it back, and return its SHA-256. Raises BadBundle."""
    draft = bundle.with_name(f".{bundle.name}.partial")
    try:
        bundle.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if bundle.exists():
            raise BadBundle(f"{bundle} exists: a bundle never replaces a file")
        # What a killed run left, or another account put there, is neither followed nor kept.
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(bundle_until(checkpoint))
                file.flush()
                os.fsync(file.fileno())
            sha256 = require_whole(draft, checkpoint=checkpoint, cuts=newest_prune_records())
            os.link(draft, bundle)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(bundle.parent)
    except OSError as error:
        raise BadBundle(f"the bundle cannot be written to {bundle}: {error.strerror}") from error
    return sha256


@dataclass(frozen=True, kw_only=True)
class _Record:
    """The details shared by the events of all steps of a run."""

    actor: Actor
    object: AuditObject
    sha256: str
    checkpoint: SignedCheckpoint
    operator: str


def _steps(planned: StreamPlan, shared: _Record) -> Iterator[int]:
    """Cut one stream step by step; yield how many events each took."""
    after = planned.after
    while after < planned.through.sequence:
        until = min(after + _EVENTS_PER_STEP, planned.through.sequence)
        yield _step(planned, after, until, shared)
        after = until


def _step(planned: StreamPlan, after: int, until: int, shared: _Record) -> int:
    """Record the cut of a range and delete what goes of it, in one transaction."""
    with transaction.atomic():
        # Its lock excludes concurrent recording and pruning of this stream; the rows read below are those
        # removed.
        event_store.locked_heads({planned.stream})
        cut = newest_cut(planned.stream)
        if (cut.through if cut else 0) != after:
            raise PruneRefused(f"another process cuts stream {planned.stream} at the same time")
        events = list(_old_events(planned.stream, after, until))
        if [event.sequence for event in events] != list(range(after + 1, until + 1)):
            raise PruneRefused(f"stream {planned.stream} is not what it was when it was verified")
        removable = [event for event in events if _goes(event, planned.known)]
        digest = RetainedDigest()
        for event in events:
            if not _goes(event, planned.known):
                digest.add(event.sequence, bytes(event.hash))
        record(
            actor=shared.actor,
            action=Action.TRAIL_PRUNE,
            stream=planned.stream,
            object=shared.object,
            outcome=Outcome.ALLOWED,
            details={
                "after": after,
                "through": until,
                "hash": bytes(events[-1].hash).hex(),
                "kept": digest.count,
                "digest": digest.hexdigest(),
                "removed": len(removable),
                "checkpoint": shared.checkpoint.number,
                "signed_at": utc_text(shared.checkpoint.statement.at),
                "bundle": shared.object.name,
                "sha256": shared.sha256,
                "operator": shared.operator,
            },
        )
        ids = [event.pk for event in removable]
        if event_store.remove(ids) != len(removable):
            raise PruneRefused(f"stream {planned.stream} changed while it was cut")
        search_index.remove(ids)
    return len(removable)
