"""Holds the stored trail against its anchors: all of it, or what is newer than the newest one."""

from collections import defaultdict
from collections.abc import Generator, Iterator

from audit_app.checkpoints.anchors import ReadBack, divergent_anchors, fetch_anchors, resumptions
from audit_app.checkpoints.gaps import discontinuities
from audit_app.checkpoints.signing import chain_problems, descent_problems, signed, stored_problems
from audit_app.crypto.checkpoint_statement import Head, SignedCheckpoint
from audit_app.errors import AnchorUnavailable, BadCheckpoint
from audit_app.integrity.check_registry import Problem
from audit_app.models import Checkpoint
from audit_app.verification.stream_verifier import stored_heads, verify
from audit_app.verification.stream_walker import VerificationStats


def whole_trail(stream: str | None = None, *, tally: VerificationStats | None = None) -> Iterator[Problem]:
    """Yield what is wrong with every event and checkpoint, or with the events of one stream.

    Streams must have gone through the heads that the sinks' newest checkpoints and the stored newest
    one name. Goes over the network.
    """
    tally = tally or VerificationStats()
    back = yield from _asked(tally, thorough=True)
    known: dict[str, list[Head]] = defaultdict(list)
    for checkpoint in _binding(back):
        for name, head in checkpoint.statement.heads.items():
            known[name].append(head)
    if stream is None:
        yield from chain_problems(None)
        tally.checkpoints = Checkpoint.objects.count()
    yield from verify(stream, known=known, tally=tally)


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
