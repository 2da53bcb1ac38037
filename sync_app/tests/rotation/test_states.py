"""The machine alone: every step leads to an end, and no act endangers what is served."""

import pytest

from sync_app.domain.rotation_state import (
    ENDED,
    FOLLOWS,
    SERVED,
    OperatorAction,
    Slot,
    Step,
    allowed_actions,
    next_step_after_abandon,
    next_step_after_retry,
    slot_of,
    step_left_by_abandon,
)
from sync_app.rotation.execution.steps import _STEPS

STATES = [
    (step, stopped, reverted) for step in Step for stopped in (False, True) for reverted in (False, True)
]


def test_every_step_that_has_not_ended_has_its_work_and_leads_to_an_end() -> None:
    assert set(_STEPS) == set(Step) - ENDED - {Step.WAITING}
    reached = set(ENDED)
    for _ in Step:
        reached |= {step for step in Step if FOLLOWS[step] & reached}
    assert reached == set(Step)


def test_nothing_is_served_that_was_not_tested_and_nothing_retired_without_a_grace() -> None:
    assert {step for step in Step if Step.GRACE in FOLLOWS[step]} - SERVED == {Step.PROMOTE}
    assert {step for step in Step if Step.PROMOTE in FOLLOWS[step]} == {Step.TEST}
    assert {step for step in Step if Step.RETIRE in FOLLOWS[step]} == {Step.GRACE}


@pytest.mark.parametrize(("step", "stopped", "reverted"), STATES)
def test_acts_fit_the_step(step: Step, stopped: bool, reverted: bool) -> None:
    acts = allowed_actions(step, stopped=stopped, reverted=reverted)
    if OperatorAction.ABANDON in acts:
        after = next_step_after_abandon(step)
        assert after in FOLLOWS[step]
        # What may have been set is withdrawn, unless an operator leaves what cannot be.
        assert after is Step.WITHDRAW or stopped or step in {Step.WAITING, Step.PREPARE}
    if OperatorAction.ROLL_BACK in acts:
        assert step in SERVED
        assert not reverted
        assert stopped or step is Step.GRACE
    if stopped and step not in {*ENDED, Step.WAITING}:
        assert OperatorAction.RETRY in acts
    assert (slot_of(step) is None) == (step in ENDED) == (not acts)


def test_what_leaves_a_login_valid_can_be_ended_later_and_nothing_else() -> None:
    assert {step for step in Step if step_left_by_abandon(step)} == {Step.RETIRE, Step.WITHDRAW}
    for step in Step:
        ended = allowed_actions(step, stopped=False, reverted=False, leaves="retire")
        assert (OperatorAction.RETIRE in ended) == (step in ENDED)


def test_a_value_that_can_be_set_again_is_and_one_that_cannot_is_tested_again() -> None:
    assert next_step_after_retry(Step.TEST, remakes=True) is Step.SET
    assert next_step_after_retry(Step.TEST, remakes=False) is Step.TEST
    assert next_step_after_retry(Step.RETIRE, remakes=True) is Step.RETIRE
    assert slot_of(Step.WAITING) is Slot.WAITING
