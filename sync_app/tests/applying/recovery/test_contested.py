"""A fight with another controller is damped, and then a person is asked."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from environments_app.models import Alert
from sync_app.applying import service as applying
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.domain.reconciliation import Reason
from sync_app.models import Plan, PlanItem
from sync_app.models.plan import PlanKind
from sync_app.planning.service import new_plan
from sync_app.runs import runner as runs_runner
from sync_app.state.contests import AT_ONCE, CONTESTED
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database_weekly


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


def test_many_writes_of_an_earlier_keeper_are_contested(stage: Stage) -> None:
    stage.rules(conflict="keeper_wins")
    stage.keep("one", "ours")
    stage.sync()
    written_over(stage, 40)
    stage.edit("one", "theirs")
    assert stage.sync(rest=True).counts == {"drifted": 1}
    assert "contested" in stage.entry("one").reason


def delete(stage: Stage) -> None:
    """Delete it in the target, as it can be restored."""
    path = stage.path("one")
    if isinstance(stage.world, AwsWorld):
        stage.world.client.delete_secret(SecretId=path)
    else:
        stage.world.kv.delete_latest_version_of_secret(path, mount_point="secret")  # type: ignore[attr-defined]


def remove(stage: Stage) -> None:
    """Remove it from the target with all its versions."""
    path = stage.path("one")
    if isinstance(stage.world, AwsWorld):
        stage.world.client.delete_secret(SecretId=path, ForceDeleteWithoutRecovery=True)
    else:
        stage.world.kv.delete_metadata_and_all_versions(path, mount_point="secret")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("act", "written"), [(delete, "update"), (remove, "create")])
def test_a_fight_by_deletion_waits_and_then_asks(
    stage: Stage, act: Callable[[Stage], None], written: str
) -> None:
    stage.rules(conflict="keeper_wins")
    stage.keep("one", "ours")
    stage.sync()
    for _ in range(AT_ONCE):
        act(stage)
        assert stage.sync(rest=True).counts == {written: 1}
    act(stage)
    plan = stage.sync(rest=True)
    assert plan.counts == {"missing": 1}
    reason = stage.entry("one").reason
    assert reason.startswith("deleted there again each time")
    assert "waits until" in reason
    # A person decides at any time, and that is no round of the fight.
    item = PlanItem.objects.get(plan=plan)
    run = applying.request_resolution(actor=stage.alice, item=item, choice="keep_ours")
    stage.world_rest()
    assert runs_runner.execute(run.pk) is not None
    assert stage.theirs("one") == "ours"
    rounds = PlanItem.objects.filter(plan__target=stage.target, act=written, state="done", plan__options={})
    rounds.filter(reason__in=[Reason.LOST, Reason.RESTORED]).update(
        finished_at=timezone.now() - timedelta(hours=25)
    )
    act(stage)
    assert stage.sync(rest=True).counts == {written: 1}
    written_over(stage, CONTESTED)
    act(stage)
    assert stage.sync(rest=True).counts == {"missing": 1}
    assert stage.entry("one").reason.startswith("contested: deleted there again each time")


def written_over(stage: Stage, times: int) -> None:
    """Have Keeper's lines say that it wrote over a change so often, each time by a plan of its own."""
    for _ in range(times):
        plan = new_plan(actor=stage.alice, target=stage.target, kind=PlanKind.SYNC, options={})
        PlanItem.objects.create(
            plan=plan,
            name="one",
            act="update",
            reason=Reason.TARGET_CHANGED,
            state="done",
            finished_at=timezone.now(),
        )
        Plan.objects.filter(pk=plan.pk).update(state="done")


@pytest.mark.parametrize("world", ["aws"], indirect=True)
def test_a_race_that_is_lost_makes_no_version_in_each_pass(aws: AwsWorld, stage: Stage) -> None:
    """AWS keeps what was put before the label could be moved, and allows so many versions a day to all."""
    stage.rules(conflict="keeper_wins")
    stage.keep("one", "ours")
    stage.sync()
    stage.keep("one", "ours, newer")
    aws.plan.before("UpdateSecretVersionStage", lambda: stage.edit("one", "theirs"))
    stage.world_rest()
    for _ in range(3):
        assert stage.items(stage.sync()) == {"one": ("update", "skipped")}
    listed = aws.client.list_secret_version_ids(SecretId=stage.path("one"), IncludeDeprecated=True)
    assert (stage.theirs("one"), len(listed["Versions"])) == ("theirs", 3)
    assert "10 minutes" in stage.entry("one").reason
    stage.sync(rest=True)
    assert stage.theirs("one") == "ours, newer"
