"""Reads checkpoints back from the sinks, and checks that the stored audit log descends from them.

Write access to the database cannot change the content of a sink. So the checkpoints that are read back are
the reference, and the stored ones are compared with them.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.utils import timezone

from audit_app.crypto.checkpoint_statement import SignedCheckpoint
from audit_app.errors import AnchorUnavailable, BadCheckpoint, SinkDown
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.integrity.check_registry import Problem
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent, Checkpoint, SinkState, deployment_uuid
from audit_app.recording import event_store
from audit_app.sinks.registry import checkpoint_sinks
from audit_app.verification.stream_walker import has_valid_mac
from core.canonical_json import parsed_details

# A pass each minute delivers what was signed; what a sink lacks for longer, it lacks.
_DELIVERED_WITHIN: Final = timedelta(minutes=10)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """The newest checkpoint of a sink, as it was read back; its signature was verified."""

    checkpoint: SignedCheckpoint
    sink: str


@dataclass(frozen=True, kw_only=True)
class SinkRollback:
    """A sink that holds less than it took: it was emptied or shortened, or is another one here."""

    sink: str
    taken: int
    holds: int

    @property
    def problem(self) -> Problem:
        holds = f"its newest checkpoint is {self.holds}" if self.holds else "it holds no checkpoint"
        return Problem(
            kind="emptied",
            object=f"sink {self.sink}",
            message=f"{holds}, and it took {self.taken}: it was emptied or cut, or is not shared by all",
        )


@dataclass(frozen=True, kw_only=True)
class ReadBack:
    """What came of asking every sink: its anchors, what is wrong with what they hold, what they lost."""

    anchors: Sequence[Anchor]
    problems: Sequence[Problem]
    losses: Sequence["SinkRollback"] = ()
    # Sinks that lack what was signed long ago, whatever is noted of what they took.
    lacking: Sequence[Problem] = ()

    @property
    def newest(self) -> Anchor | None:
        return max(self.anchors, key=lambda anchor: anchor.checkpoint.number, default=None)


def fetch_anchors(*, thorough: bool = False) -> ReadBack:
    """Ask every sink that can be read for its newest checkpoint; goes over the network.

    `thorough` has each look through all that it holds.
    Raises AnchorUnavailable if there are such sinks and none answers.
    """
    readable, down = 0, []
    anchors: list[Anchor] = []
    problems: list[Problem] = []
    losses: list[SinkRollback] = []
    lacking: list[Problem] = []
    # Before any is asked: what another worker delivers in the meantime is no loss.
    noted = SinkState.objects.filter(succeeded_at__isnull=False)
    positions, due = dict(noted.values_list("name", "position")), _due()
    for sink in checkpoint_sinks():
        if not sink.readable:
            continue
        readable += 1
        try:
            line = sink.newest(thorough=thorough)
            checkpoint = _genuine(line) if line is not None else None
            if checkpoint is not None:
                anchors.append(Anchor(checkpoint=checkpoint, sink=sink.name))
            holds = checkpoint.number if checkpoint else 0
            if holds < positions.get(sink.name, 0):
                losses.append(SinkRollback(sink=sink.name, taken=positions[sink.name], holds=holds))
            elif holds < due:
                has = f"its newest checkpoint is {holds}" if holds else "it holds no checkpoint"
                message = f"{has}, and {due} is due: it would not show that a newer log was cut or set back"
                lacking.append(Problem(kind="unanchored", object=f"sink {sink.name}", message=message))
        except SinkDown as error:
            _log.warning("an audit sink cannot be read back: %s", error)
            down.append(sink.name)
        except BadCheckpoint as error:
            problems.append(Problem(kind="forged", object=f"sink {sink.name}", message=str(error)))
    if readable and len(down) == readable:
        raise AnchorUnavailable(f"no sink of checkpoints can be read back: {', '.join(down)}")
    return ReadBack(anchors=anchors, problems=problems, losses=losses, lacking=lacking)


def _due() -> int:
    """Return the number that every sink must have reached: of the newest checkpoint that is not fresh.

    What is noted of a sink may be edited together with the sink, so that this goes by what was signed. An
    audit log of some age that was never signed is due its first one.
    """
    before = timezone.now() - _DELIVERED_WITHIN
    number = Checkpoint.objects.filter(at__lt=before).order_by("-number").values_list("number", flat=True)
    events = AuditEvent.objects.filter(stream=streams.SYSTEM).order_by("sequence")
    begin = events.values_list("at", flat=True).first()
    return number.first() or int(begin is not None and begin < before)


def _genuine(line: bytes) -> SignedCheckpoint:
    """Return a checkpoint that this deployment has signed. Raises BadCheckpoint for any other."""
    checkpoint = SignedCheckpoint.from_line(line)
    if checkpoint.statement.deployment != deployment_uuid():
        raise BadCheckpoint("it holds a checkpoint of another deployment")
    key = keyring().public_key(checkpoint.statement.key_id)
    if key is None or not checkpoint.is_signed_by(key):
        raise BadCheckpoint("it holds a checkpoint that none of Keeper's keys has signed")
    return checkpoint


def divergent_anchors(anchors: Sequence[Anchor]) -> Iterator[Problem]:
    """Yield each anchor that the stored checkpoints do not lead to, unless an operator resumed from it."""
    for anchor in anchors:
        number, digest = anchor.checkpoint.number, anchor.checkpoint.digest
        stored = Checkpoint.objects.filter(number=number).values_list("digest", flat=True).first()
        if stored is not None and bytes(stored) == digest:
            continue
        if is_resumed(digest):
            continue
        at = anchor.checkpoint.statement.at
        signed = f"checkpoint {number} of {at:%Y-%m-%d %H:%M:%S} UTC, read back from {anchor.sink}"
        if stored is not None:
            yield checkpoint_problem("forked", number, f"another checkpoint {number} is stored than {signed}")
        elif Checkpoint.objects.filter(number__gt=number).exists():
            yield checkpoint_problem("missing", number, f"the stored checkpoints lack {signed}")
        else:
            yield checkpoint_problem("rewound", number, f"the database is older than {signed}")


def is_resumed(digest: bytes) -> bool:
    """Return whether an operator let the audit log continue from a state older than a checkpoint."""
    return any(resumption.digest == digest for resumption in resumptions())


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """A discontinuity by an operator: the anchor that the audit log continues without, and the reason."""

    sequence: int
    number: int
    digest: bytes
    reason: str


def resumptions() -> Iterator[Resumption]:
    """Yield the discontinuities of the audit log, oldest first; a forged event makes none."""
    events = AuditEvent.objects.filter(stream=streams.SYSTEM, action=Action.TRAIL_RESUME)
    for sequence in events.order_by("sequence").values_list("sequence", flat=True):
        for link in event_store.links(streams.SYSTEM, after=sequence - 1, until=sequence, limit=1):
            details = parsed_details(link.fields.details)
            if has_valid_mac(link) and isinstance(details.get("digest"), str):
                yield Resumption(
                    sequence=sequence,
                    number=details["anchor"],
                    digest=bytes.fromhex(details["digest"]),
                    reason=details["reason"],
                )


def checkpoint_problem(kind: str, number: int, message: str) -> Problem:
    """Return a problem of a checkpoint."""
    return Problem(kind=kind, object=f"checkpoint {number}", message=message)
