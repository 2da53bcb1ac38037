"""The states of a rotation, pure: what follows what, and what an operator may do where.

Each step is an intent that was committed before its act, so any worker that finds the row knows what may
have happened outside, and every act is repeatable:

waiting   nothing has begun (another one's grace, the window, a target that lags)
prepare   nothing outside was changed; the pending value is about to be stored
set       the idle login may have the pending value, or not yet
test      it has the pending value; its login and rights are being checked
promote   it logs in; its value is about to become current
grace     it is served, and the previous one still works
retire    the previous value is perhaps revoked already, or not yet
withdraw  the pending value was never served, and is being made useless
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Step(StrEnum):
    """How far a rotation has come; stored on the row."""

    WAITING = "waiting"
    PREPARE = "prepare"
    SET = "set"
    TEST = "test"
    PROMOTE = "promote"
    GRACE = "grace"
    RETIRE = "retire"
    WITHDRAW = "withdraw"
    DONE = "done"
    ROLLED_BACK = "rolled_back"
    ABANDONED = "abandoned"


class OperatorAction(StrEnum):
    """What an operator may do about a rotation."""

    RETRY = "retry"
    ROLL_BACK = "roll_back"
    ABANDON = "abandon"
    CUT_GRACE = "cut_grace"
    RETIRE = "retire"


class Slot(StrEnum):
    """A policy's places for rotations that have not ended: one at work, and one behind it."""

    WORKING = "working"
    WAITING = "waiting"


ENDED: Final = frozenset({Step.DONE, Step.ROLLED_BACK, Step.ABANDONED})
# The new value is, or was, served as current.
SERVED: Final = frozenset({Step.GRACE, Step.RETIRE})

FOLLOWS: Final[Mapping[Step, frozenset[Step]]] = MappingProxyType(
    {
        Step.WAITING: frozenset({Step.PREPARE, Step.ABANDONED}),
        Step.PREPARE: frozenset({Step.SET, Step.ABANDONED}),
        # Back where the other system refused to create anything.
        Step.SET: frozenset({Step.PREPARE, Step.TEST, Step.WITHDRAW}),
        Step.TEST: frozenset({Step.PROMOTE, Step.WITHDRAW}),
        Step.PROMOTE: frozenset({Step.GRACE, Step.WITHDRAW}),
        # Rolling back changes places and begins another grace.
        Step.GRACE: frozenset({Step.GRACE, Step.RETIRE}),
        Step.RETIRE: frozenset({Step.GRACE, Step.DONE, Step.ROLLED_BACK, Step.ABANDONED}),
        Step.WITHDRAW: frozenset({Step.ABANDONED}),
        **{step: frozenset() for step in ENDED},
    }
)


def slot_of(step: Step) -> Slot | None:
    """Return the place that a rotation takes at a step; None once it has ended."""
    if step in ENDED:
        return None
    return Slot.WAITING if step is Step.WAITING else Slot.WORKING


def allowed_actions(
    step: Step, *, stopped: bool, reverted: bool, leaves: str = ""
) -> frozenset[OperatorAction]:
    """Return what an operator may do; each is safe, and leaves the current value as it is or proven.

    `leaves` is the step at which one was given up that left a login behind.
    """
    if step in ENDED:
        return frozenset({OperatorAction.RETIRE} if leaves else ())
    # In its grace it is retried automatically, unless it stopped there: ending the grace is no way to
    # continue.
    acts = (
        {OperatorAction.RETRY} if step is not Step.WAITING and (stopped or step is not Step.GRACE) else set()
    )
    if step in SERVED and not reverted and (stopped or step is Step.GRACE):
        acts.add(OperatorAction.ROLL_BACK)
    if step is Step.GRACE:
        acts.add(OperatorAction.CUT_GRACE)
    # Before it is served anything can be given up. What is stopped at the end is left as it is: the
    # next rotation ends that login first, or an operator does.
    if step not in {*SERVED, Step.WITHDRAW} or (stopped and step is not Step.GRACE):
        acts.add(OperatorAction.ABANDON)
    return frozenset(acts)


def next_step_after_abandon(step: Step) -> Step:
    """Return the step that giving up leads to: what was set is withdrawn first."""
    return Step.WITHDRAW if step in {Step.SET, Step.TEST, Step.PROMOTE} else Step.ABANDONED


def step_left_by_abandon(step: Step) -> str:
    """Return the step whose login is still valid, or may be, once it is given up there; else nothing."""
    return step if step in {Step.RETIRE, Step.WITHDRAW} else ""


def next_step_after_retry(step: Step, *, remakes: bool) -> Step:
    """Return the step that is tried again: a value that was refused is set once more.

    For a system that generates secrets itself and accepts none (not `remakes`), only the test is repeated.
    """
    return Step.SET if remakes and step in {Step.TEST, Step.PROMOTE} else step
