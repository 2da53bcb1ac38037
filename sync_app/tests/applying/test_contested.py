"""A fight with another controller is damped, and then a person is asked."""

from datetime import timedelta

import pytest
from django.utils import timezone

from environments_app.models import Alert
from sync_app.models import PlanItem
from sync_app.state.contests import AT_ONCE, CONTESTED
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database


def fought(stage: Stage, times: int) -> None:
    """Have another client change it, and Keeper write over that, so often."""
    for number in range(times):
        stage.edit("one", f"theirs {number}")
        assert stage.sync(rest=True).counts == {"update": 1}


def test_it_waits_longer_each_time_and_then_asks(stage: Stage) -> None:
    stage.rules(conflict="keeper_wins")
    stage.keep("one", "ours")
    stage.sync()
    fought(stage, AT_ONCE)
    stage.edit("one", "theirs")
    assert stage.sync(rest=True).counts == {"drifted": 1}
    assert "waits until" in stage.entry("one").reason
    written = PlanItem.objects.filter(plan__target=stage.target, act="update", state="done")
    written.update(finished_at=timezone.now() - timedelta(hours=3))
    fought(stage, 1)
    for _ in range(CONTESTED - AT_ONCE - 1):
        written.update(finished_at=timezone.now() - timedelta(hours=3))
        fought(stage, 1)
    written.update(finished_at=timezone.now() - timedelta(hours=3))
    stage.edit("one", "theirs")
    assert stage.sync(rest=True).counts == {"drifted": 1}
    (line,) = Alert.objects.get(about=stage.target.uuid, kind="sync.drifted", open=True).lines
    assert f"contested: changed there again each time, {CONTESTED} times in 24 hours" in line
    assert stage.theirs("one") == "theirs"
    # What is long past counts no more.
    written.update(finished_at=timezone.now() - timedelta(hours=25))
    assert stage.sync(rest=True).counts == {"update": 1}
    assert stage.theirs("one") == "ours"
