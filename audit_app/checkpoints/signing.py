"""Signs checkpoints: the heads of all streams, once it is certain that they only grew.

Before anything is signed, the newest checkpoint is read back from the sinks, every event since is
verified with its MAC, and each head must descend from that checkpoint's. Otherwise the audit log was
truncated, forked or rolled back: Keeper refuses to sign it and reports it.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit_app.checkpoints.anchors import (
    ReadBack,
    SinkRollback,
    checkpoint_problem,
    divergent_anchors,
    fetch_anchors,
    is_resumed,
)
from audit_app.crypto.checkpoint_statement import (
    GENESIS,
    Head,
    SignedCheckpoint,
    Statement,
    Succession,
    signed_message,
    succession_message,
)
from audit_app.errors import AnchorUnavailable, BadCheckpoint, NothingToResume, SigningRefused
from audit_app.events import actors, streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor
from audit_app.integrity.check_registry import Problem
from audit_app.interfaces import audit_log_alerts, keyring
from audit_app.models import Checkpoint, SinkState, deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from audit_app.verification.prune_records import PruneRecord, newest_prune_records
from audit_app.verification.stream_verifier import beginning, stored_heads
from audit_app.verification.stream_walker import VerificationStats, first_damage

SIGNING: Final = "signing"
_UNCHANGED_SIGNED_EVERY: Final = timedelta(hours=1)
# Two schedules, or a schedule and a shutdown, at about the same time make one.
_AGAIN_AFTER: Final = timedelta(seconds=30)
_MAX_TEXT: Final = 500
_log = logging.getLogger(__name__)


def make_checkpoint(*, at_once: bool = False) -> Checkpoint | None:
    """Sign the heads of all streams and store the checkpoint; None if there is nothing to sign.

    `at_once` leaves out only the pause after another one. Any number of processes may call it: one
    of them makes each number. Call it outside a transaction, since it asks the sinks.

    Raises SigningRefused if the audit log does not descend from what was signed, AnchorUnavailable if no
    sink returns that, KeyringUnavailable if the keys are not open.
    """
    keyring().open_all()
    newest = Checkpoint.objects.order_by("number").last()
    now = timezone.now()
    # One from the future was edited, or a clock was set back: it holds nothing up.
    if newest is not None and not at_once and now - _AGAIN_AFTER < newest.at <= now:
        return None
    try:
        return _made(newest)
    except (SigningRefused, AnchorUnavailable) as error:
        _refused(error)
        raise


def accept_rollback(*, actor: Actor, reason: str) -> int:
    """Let checkpoints continue although the audit log is older than its newest anchor: after a restore.

    Records which checkpoint the audit log continues without, and why; every later verification lists this
    discontinuity. Returns the number of that checkpoint. The caller checks the right.

    Raises NothingToResume if the audit log does descend from its anchor, AnchorUnavailable if none is read.
    """
    back = fetch_anchors()
    divergent = list(divergent_anchors(back.anchors))
    newest = back.newest
    if newest is None or not divergent:
        raise NothingToResume("the stored log continues from its newest anchor: there is nothing to resume")
    stored = Checkpoint.objects.order_by("number").values_list("number", flat=True).last() or 0
    number, digest = newest.checkpoint.number, newest.checkpoint.digest.hex()
    record(
        actor=actor,
        action=Action.TRAIL_RESUME,
        stream=streams.SYSTEM,
        object=AuditObject("checkpoint", deployment_uuid(), f"checkpoint {number}"),
        details={
            "anchor": number,
            "digest": digest,
            "stored": stored,
            "sink": newest.sink,
            "reason": reason,
        },
    )
    return number


def signed(row: Checkpoint) -> SignedCheckpoint:
    """Return a stored checkpoint. Raises BadCheckpoint if the row is not what Keeper signed."""
    checkpoint = SignedCheckpoint.stored(row.statement, bytes(row.signature))
    statement = checkpoint.statement
    key = keyring().public_key(statement.key_id)
    same = (row.number, row.at, bytes(row.previous_digest), bytes(row.digest), row.key_id)
    if same != (statement.number, statement.at, statement.previous, checkpoint.digest, statement.key_id):
        raise BadCheckpoint("its columns are not what it says")
    if key is None or not checkpoint.is_signed_by(key):
        raise BadCheckpoint("none of Keeper's keys has signed it")
    return checkpoint


def chain_problems(after: SignedCheckpoint | None) -> Iterator[Problem]:
    """Yield what is wrong with the stored checkpoints, from the one behind `after` on."""
    previous = after.digest if after else GENESIS
    number = after.number if after else 0
    for row in Checkpoint.objects.filter(number__gt=number).order_by("number").iterator(chunk_size=200):
        try:
            checkpoint = signed(row)
        except BadCheckpoint as error:
            yield checkpoint_problem("edited", row.number, str(error))
            return
        statement = checkpoint.statement
        if statement.resumed and is_resumed(statement.previous):
            previous, number = statement.previous, statement.number - 1
        if statement.number != number + 1:
            yield checkpoint_problem(
                "missing", number + 1, f"checkpoints {number + 1} to {statement.number - 1} are missing"
            )
            return
        if statement.previous != previous:
            yield checkpoint_problem("forked", row.number, "it does not follow the checkpoint before it")
            return
        previous, number = checkpoint.digest, checkpoint.number


def stored_problems(number: int) -> Iterator[Problem]:
    """Yield the problems of a single stored checkpoint."""
    for row in Checkpoint.objects.filter(number=number):
        try:
            signed(row)
        except BadCheckpoint as error:
            yield checkpoint_problem("edited", number, str(error))


def _made(row: Checkpoint | None) -> Checkpoint | None:
    back = fetch_anchors()
    for loss in back.losses:
        _note_loss(loss)
    anchor = _base(back)
    newest = _signed_or_refuse(row)
    heads = stored_heads()
    if (
        newest
        and heads == newest.statement.heads
        and newest.statement.at > timezone.now() - _UNCHANGED_SIGNED_EVERY
    ):
        _signing_works()
        return None
    _require_descent(anchor, newest, heads)
    statement = _statement(back, newest, heads)
    signed_checkpoint = _signed(statement)
    row = Checkpoint(
        number=signed_checkpoint.number,
        at=statement.at,
        statement=signed_checkpoint.text,
        previous_digest=statement.previous,
        digest=signed_checkpoint.digest,
        key_id=statement.key_id,
        signature=signed_checkpoint.signature,
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        # Another process was first; the next pass signs what came since.
        return None
    _signing_works()
    return row


def _base(back: ReadBack) -> SignedCheckpoint | None:
    """Return the newest anchor that the audit log must descend from. Raises SigningRefused."""
    _refuse([*back.problems, *divergent_anchors(back.anchors)])
    newest = back.newest
    if newest is None or is_resumed(newest.checkpoint.digest):
        return None
    return newest.checkpoint


def _signed_or_refuse(row: Checkpoint | None) -> SignedCheckpoint | None:
    try:
        return signed(row) if row else None
    except BadCheckpoint as error:
        raise SigningRefused(f"edited: stored checkpoint {row.number if row else 0}: {error}") from error


def _require_descent(
    anchor: SignedCheckpoint | None, newest: SignedCheckpoint | None, heads: Mapping[str, Head]
) -> None:
    """Refuse unless every stream continues from the anchor, through the newest stored checkpoint."""
    _refuse(chain_problems(anchor))
    since = anchor.statement.heads if anchor else {}
    through = newest.statement.heads if newest else {}
    _refuse(descent_problems(since=since, through=through, heads=heads))


def descent_problems(
    *,
    since: Mapping[str, Head],
    through: Mapping[str, Head],
    heads: Mapping[str, Head],
    tally: VerificationStats | None = None,
) -> Iterator[Problem]:
    """Yield the first damage of each stream that does not lead from `since` through `through` to `heads`."""
    cuts = newest_prune_records()
    for stream in sorted({*since, *through, *heads}):
        head = heads.get(stream)
        if head is None:
            yield Problem(
                kind="missing", object=f"stream {stream}", stream=stream, message="the stream is missing"
            )
            continue
        start = _start(stream, since.get(stream), cuts.get(stream))
        between = [through[stream]] if stream in through else []
        if head.sequence < start.sequence:
            message = f"events {head.sequence + 1} to {start.sequence} are gone, which a checkpoint names"
            yield Problem(
                kind="truncated",
                object=f"event {stream} #{head.sequence + 1}",
                stream=stream,
                sequence=head.sequence + 1,
                message=message,
            )
        elif damage := first_damage(stream, after=start, until=head, known=between, tally=tally):
            yield damage


def _start(stream: str, signed_head: Head | None, cut: PruneRecord | None) -> Head:
    """Return where to continue from: what was signed, or where retention cut after it."""
    if cut and (signed_head is None or signed_head.sequence < cut.through):
        return cut.head
    return signed_head or beginning(stream)


def _statement(back: ReadBack, before: SignedCheckpoint | None, heads: Mapping[str, Head]) -> Statement:
    anchor = back.newest.checkpoint if back.newest else None
    resumed = bool(anchor and is_resumed(anchor.digest) and (before is None or before.number < anchor.number))
    last = anchor if resumed else before
    key = keyring().sign(b"")
    return Statement(
        deployment=deployment_uuid(),
        number=last.number + 1 if last else 1,
        at=timezone.now(),
        previous=last.digest if last else GENESIS,
        heads=heads,
        key_id=key.key_id,
        public_key=key.public_key,
        succession=_succession(last),
        resumed=resumed,
    )


def _succession(last: SignedCheckpoint | None) -> Succession | None:
    """Let the key of the last checkpoint speak for the active one, if that is another."""
    key = keyring().sign(b"")
    if last is None or last.statement.key_id == key.key_id:
        return None
    message = succession_message(deployment_uuid(), key.key_id, key.public_key)
    return Succession(last.statement.key_id, keyring().sign(message, key_id=last.statement.key_id).signature)


def _signed(statement: Statement) -> SignedCheckpoint:
    text = statement.text()
    unsigned = SignedCheckpoint(text, b"", statement)
    signature = keyring().sign(signed_message(unsigned.digest), key_id=statement.key_id)
    return SignedCheckpoint(text, signature.signature, statement)


def _note_loss(loss: SinkRollback) -> None:
    """Report once that a sink holds less than it received, and deliver again everything that it lacks.

    Signing continues: the next anchor is worth more than none, and a second sink may hold the rest.
    """
    with transaction.atomic():
        state = SinkState.objects.filter(name=loss.sink, position=loss.taken)
        if not state.update(position=loss.holds, due_at=None):
            # Another worker reported it.
            return
        record(
            actor=actors.system(),
            action=Action.INTEGRITY_VIOLATION,
            stream=streams.SYSTEM,
            object=AuditObject("sink", deployment_uuid(), loss.sink[:_MAX_TEXT]),
            outcome=Outcome.FAILED,
            details={"reason": loss.problem.message, "taken": loss.taken, "holds": loss.holds},
        )
    _log.error("%s: %s", loss.sink, loss.problem.message)
    audit_log_alerts().raised(
        kind=f"emptied:{loss.sink}:{loss.taken}",
        subject=f"the audit sink {loss.sink} lost what it had taken",
        lines=[loss.problem.message, "It is given again what Keeper still has; find out who emptied it."],
    )


def _refuse(problems: Iterable[Problem]) -> None:
    """Raise SigningRefused with the first of the problems, if there are any."""
    reasons = [f"{problem.kind}: {problem.object}: {problem.message}" for problem in problems]
    if reasons:
        more = f"; and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        raise SigningRefused(f"{reasons[0]}{more}")


def _refused(error: SigningRefused | AnchorUnavailable) -> None:
    """Report once that nothing is signed: by an event, in the log, and to the alert recipients."""
    text = str(error)[:_MAX_TEXT]
    state, _ = SinkState.objects.get_or_create(name=SIGNING)
    with transaction.atomic():
        state = SinkState.objects.select_for_update().get(name=SIGNING)
        is_news = state.error != text
        state.error, state.failures = text, state.failures + 1
        state.save()
        if is_news:
            record(
                actor=actors.system(),
                action=Action.INTEGRITY_VIOLATION,
                stream=streams.SYSTEM,
                object=AuditObject("checkpoint", deployment_uuid(), "checkpoint"),
                outcome=Outcome.FAILED,
                details={"reason": text},
            )
    if is_news:
        _log.error("no checkpoint is signed: %s", text)
    audit_log_alerts().raised(
        kind=SIGNING,
        subject="the audit log is not signed any more",
        lines=[text, "Run `keeper verify-audit`, and keep the sinks' copies: they show what was there."],
    )


def _signing_works() -> None:
    state, _ = SinkState.objects.get_or_create(name=SIGNING)
    now = timezone.now()
    SinkState.objects.filter(pk=state.pk).update(succeeded_at=now, failures=0, error="")
    if state.error:
        _log.info("checkpoints are signed again")
        audit_log_alerts().over(kind=SIGNING, subject="the audit log is signed again")
