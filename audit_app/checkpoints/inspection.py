"""Holds the stored audit log against its anchors, and lists its discontinuities.

An inspection covers all of the audit log, or what is newer than the newest anchor. Each verification lists
the discontinuities: restores, accepted rollbacks, cuts.
"""

from collections import defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from audit_app.checkpoints.anchors import ReadBack, divergent_anchors, fetch_anchors, resumptions
from audit_app.checkpoints.signing import chain_problems, descent_problems, signed, stored_problems
from audit_app.crypto.checkpoint_statement import Head, SignedCheckpoint
from audit_app.errors import AnchorUnavailable, BadCheckpoint
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.integrity.check_registry import Problem
from audit_app.models import AuditEvent, Checkpoint
from audit_app.verification.prune_records import PruneRecord, newest_prune_records, prune_records_of
from audit_app.verification.stream_verifier import stored_heads, verify
from audit_app.verification.stream_walker import VerificationStats
from core.canonical_json import parsed_details


@dataclass(frozen=True, kw_only=True)
class Discontinuity:
    """A discontinuity, from its event: the audit log continues from an older state, or without old events."""

    kind: str
    stream: str
    sequence: int
    message: str

    def __str__(self) -> str:
        return f"discontinuity: event {self.stream} #{self.sequence}: {self.message}"


def discontinuities() -> Iterator[Discontinuity]:
    """Yield each restore, resumption and cut that the audit log went through, oldest first of each."""
    yield from _restores()
    for resumed in resumptions():
        yield Discontinuity(
            kind="resume",
            stream=streams.SYSTEM,
            sequence=resumed.sequence,
            message=f"signing went on without checkpoint {resumed.number}: {resumed.reason}",
        )
    for stream in sorted(newest_prune_records()):
        yield from _cuts(stream)


def _cuts(stream: str) -> Iterator[Discontinuity]:
    """Yield a discontinuity a bundle: a cut is made in several steps, so that writers wait for none."""
    parts: dict[str, list[PruneRecord]] = {}
    for cut in prune_records_of(stream):
        parts.setdefault(cut.sha256, []).append(cut)
    for steps in parts.values():
        first, last = steps[0], steps[-1]
        removed, kept = sum(step.removed for step in steps), sum(step.kept for step in steps)
        yield Discontinuity(
            kind="cut",
            stream=stream,
            sequence=last.sequence,
            message=f"{removed:,} of events {first.after + 1:,} to {last.through:,} were removed at "
            f"{last.at[:16]} UTC by {last.actor} ({last.operator}), {kept:,} kept; all are in {last.bundle} "
            f"(SHA-256 {last.sha256}), as checkpoint {last.checkpoint} signed them",
        )


def _restores() -> Iterator[Discontinuity]:
    events = AuditEvent.objects.filter(stream=streams.SYSTEM, action=Action.DEPLOYMENT_RESTORE)
    for event in events.order_by("sequence").iterator():
        details = parsed_details(event.details)
        anchor = details.get("anchor")
        covering = f"checkpoint {anchor.get('number')}" if isinstance(anchor, dict) else "no checkpoint"
        since = f"made {details.get('made_at')}, which knew of {covering}"
        yield Discontinuity(
            kind="restore",
            stream=event.stream,
            sequence=event.sequence,
            message=f"restored at {event.at:%Y-%m-%d %H:%M} UTC from backup {event.object_uuid}, {since}; "
            "what happened between the two is not in this log",
        )


def whole_log(stream: str | None = None, *, tally: VerificationStats | None = None) -> Iterator[Problem]:
    """Yield what is wrong with every event and checkpoint, or with the events of one stream.

    Streams must have gone through the heads that the sinks' newest checkpoints and the stored newest
    one name. Goes over the network.
    """
    tally = tally or VerificationStats()
    back = yield from _asked(tally, thorough=True)
    heads_of: dict[str, list[Head]] = defaultdict(list)
    for checkpoint in _binding(back):
        for name, head in checkpoint.statement.heads.items():
            heads_of[name].append(head)
    if stream is None:
        yield from chain_problems(None)
        tally.checkpoints = Checkpoint.objects.count()
    yield from verify(stream, known=heads_of, tally=tally)


def since_checkpoint(*, tally: VerificationStats | None = None) -> Iterator[Problem]:
    """Yield what is wrong with the events that are newer than the newest anchor; all, if there is none."""
    tally = tally or VerificationStats()
    back = yield from _asked(tally)
    base = back.newest.checkpoint if back.newest and not list(divergent_anchors(back.anchors)) else None
    if base is not None and not Checkpoint.objects.filter(number=base.number).exists():
        # The audit log was resumed without this one.
        base = None
    if base is not None and base != newest_checkpoint():
        yield from stored_problems(base.number)
    yield from chain_problems(base)
    tally.checkpoints = Checkpoint.objects.filter(number__gt=base.number if base else 0).count()
    heads = stored_heads()
    tally.streams = len(heads)
    newest = newest_checkpoint()
    yield from descent_problems(
        since=base.statement.heads if base else {},
        through=newest.statement.heads if newest else {},
        heads=heads,
        tally=tally,
    )


def _asked(tally: VerificationStats, *, thorough: bool = False) -> Generator[Problem, None, ReadBack]:
    """Yield what the sinks show at once, and return what they hold."""
    try:
        back = fetch_anchors(thorough=thorough)
    except AnchorUnavailable as error:
        yield Problem(kind="unanchored", object="the sinks of checkpoints", message=str(error))
        back = ReadBack(anchors=[], problems=[])
    tally.anchors = len(back.anchors)
    tally.discontinuities = sum(1 for _ in discontinuities())
    yield from back.problems
    yield from (loss.problem for loss in back.losses)
    yield from back.lacking
    yield from divergent_anchors(back.anchors)
    return back


def _binding(back: ReadBack) -> Iterator[SignedCheckpoint]:
    """Yield the checkpoints whose heads the stored streams must have gone through."""
    left_behind = {discontinuity.digest for discontinuity in resumptions()}
    yield from (a.checkpoint for a in back.anchors if a.checkpoint.digest not in left_behind)
    newest = newest_checkpoint()
    if newest is not None:
        yield newest


def newest_checkpoint() -> SignedCheckpoint | None:
    """Return the newest stored checkpoint; None if there is none, or it was edited."""
    row = Checkpoint.objects.order_by("number").last()
    try:
        return signed(row) if row else None
    except BadCheckpoint:
        # The chain of checkpoints names it.
        return None
