"""Verifies the audit log for operators, and records it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import chain, islice
from typing import Final

from audit_app.checkpoints.gaps import Discontinuity, discontinuities
from audit_app.checkpoints.trail_inspection import since_checkpoint, whole_trail
from audit_app.crypto.canonical_json import parsed_details
from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.integrity.check_registry import Problem, run_checks
from audit_app.models import AuditEvent, deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from audit_app.verification.stream_walker import VerificationStats
from environments_app.authorization.policy import Principal, require

# What is shown; the command lists all.
MOST_PROBLEMS: Final = 100
_LOOKED_AT: Final = 20


class Extent(StrEnum):
    """How much to verify."""

    SINCE_CHECKPOINT = "since-checkpoint"
    FULL = "full"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What a verification went through and found, at most MOST_PROBLEMS."""

    extent: Extent
    tally: VerificationStats
    problems: Sequence[Problem]
    discontinuities: Sequence[Discontinuity] = ()

    @property
    def is_sound(self) -> bool:
        return not self.problems


def verify_trail(*, actor: Principal, extent: Extent, tally: VerificationStats | None = None) -> Verification:
    """Verify the audit log against its anchors, and in full all rows too; takes a while where there is much.

    `tally` counts during the verification. Raises Forbidden unless the actor administers Keeper.
    """
    require(actor=actor, action=Action.TRAIL_VERIFY, environment=None)
    tally = tally or VerificationStats()
    problems = list(islice(_problems(extent, tally), MOST_PROBLEMS))
    commit_record(
        actor=actor,
        action=Action.TRAIL_VERIFY,
        stream=streams.SYSTEM,
        object=AuditObject("trail", deployment_uuid(), "all streams"),
        outcome=Outcome.FAILED if problems else Outcome.ALLOWED,
        details={"extent": extent.value, "problems": len(problems), **asdict(tally)},
    )
    return Verification(
        extent=extent, tally=tally, problems=problems, discontinuities=list(discontinuities())
    )


def last_verification(*, actor: Principal) -> AuditEvent | None:
    """Return the event of the newest verification that was carried through, of the last _LOOKED_AT, or None.

    Its outcome is `failed` if something was found. Raises Forbidden unless the actor may verify.
    """
    require(actor=actor, action=Action.TRAIL_VERIFY, environment=None)
    # By the act alone, as its index has it. Requests of the same act have no count of problems.
    newest = AuditEvent.objects.filter(action=Action.TRAIL_VERIFY).order_by("-id")[:_LOOKED_AT]
    return next((event for event in newest if "problems" in parsed_details(event.details)), None)


def _problems(extent: Extent, tally: VerificationStats) -> Iterator[Problem]:
    if extent is Extent.SINCE_CHECKPOINT:
        return since_checkpoint(tally=tally)
    return chain(whole_trail(tally=tally), run_checks())
