"""What carries our mark no more when it is applied is somebody else's by now, and is left alone.

A changed mark changes neither version nor identity in the target: nothing but the look at the mark itself
notices it.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from sync_app.applying import item_actions
from sync_app.backends.observations import MARK_KEYS, SecretMetadata
from sync_app.models import PlanItem
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database_weekly

Act = Callable[[Stage], object]
ACTS: dict[str, Act] = {
    "update": lambda stage: stage.keep("app/one", "second"),
    "delete": lambda stage: stage.drop("app/one"),
}


def taken_over(stage: Stage, act: str) -> tuple[str, str]:
    """Plan an act on what is ours, have another deployment mark it, and apply; return state and error."""
    stage.rules(deletion="recoverable", budget_number=10, budget_percent=100, conflict="keeper_wins")
    stage.keep("app/one", "first")
    # An empty source deletes nothing at all.
    stage.keep("app/other", "other")
    stage.sync()
    ACTS[act](stage)
    plan = stage.plan()
    assert plan.counts == {act: 1, "unchanged": 1}
    path = stage.path("app/one")
    for key in MARK_KEYS:
        stage.world.label(path, key, "11111111-1111-4111-8111-111111111111")
    stage.world_rest()
    stage.apply(plan)
    item = PlanItem.objects.get(plan=plan, name="app/one")
    return str(item.state), item.error


@pytest.mark.parametrize("act", ACTS)
def test_it_is_left_alone(stage: Stage, act: str) -> None:
    state, error = taken_over(stage, act)
    assert state == "skipped"
    assert error
    assert stage.theirs("app/one") == "first"
    assert set(stage.world.labels(stage.path("app/one")).values()) == {"11111111-1111-4111-8111-111111111111"}


@pytest.mark.parametrize("act", ACTS)
def test_only_the_look_at_the_mark_keeps_it(stage: Stage, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the test above to account: without that look the act is done."""

    def ours(_backend: object, now: SecretMetadata, _job: object) -> SecretMetadata:
        return now

    monkeypatch.setattr(item_actions, "_require_owned", ours)
    backend = type(stage.world.backend())
    unchecked = replace(backend.capabilities, update_checks_mark=False)
    monkeypatch.setattr(backend, "capabilities", unchecked)
    state, _ = taken_over(stage, act)
    assert state == "done"
