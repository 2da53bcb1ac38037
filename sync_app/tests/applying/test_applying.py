"""What a plan says is done, item by item, and nothing else."""

import pytest

from environments_app.tests.cast import Cast
from sync_app.applying import service as applying
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.errors import PlanNotReady
from sync_app.models import Plan, PlanItem
from sync_app.planning import service as planning
from sync_app.targets.approval import items_digest
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database


def test_it_pushes_what_keeper_holds(stage: Stage) -> None:
    stage.keep("app/one", "first")
    stage.keep("app/two", "second")
    plan = stage.plan()
    assert plan.state == "ready"
    assert plan.counts == {"create": 2}
    with pytest.raises(Exception):  # noqa: B017, PT011 - whichever error the client raises
        stage.theirs("app/one")
    stage.apply(plan)
    assert stage.theirs("app/one") == "first"
    assert stage.theirs("app/two") == "second"
    assert stage.items(plan) == {"app/one": ("create", "done"), "app/two": ("create", "done")}
    assert stage.entry("app/one").state == "in_sync"


def test_a_second_pass_finds_nothing_to_do(stage: Stage) -> None:
    stage.keep("app/one", "first")
    stage.sync()
    plan = stage.sync()
    assert (plan.state, plan.counts) == ("done", {"unchanged": 1})


@pytest.mark.parametrize(("field", "value"), [("recovery_window_days", "7"), ("kms_key_id", "alias/other")])
def test_a_plan_covers_how_it_is_carried_out(cast: Cast, aws: AwsWorld, field: str, value: str) -> None:
    stage = Stage(cast, aws)
    stage.keep("app/one", "first")
    plan = stage.plan()
    approved = items_digest(plan)
    stage.target.destination |= {field: value}
    stage.target.save()
    plan = Plan.objects.get(pk=plan.pk)
    plan.target = stage.fresh()
    with pytest.raises(PlanNotReady, match="rules or address changed"):
        applying.request_apply(actor=stage.alice, plan=plan)
    assert items_digest(stage.plan()) != approved


def test_a_plan_that_is_being_prepared_is_waited_for(stage: Stage) -> None:
    plan = planning.request_plan(actor=stage.alice, target=stage.target).plan
    assert plan is not None
    with pytest.raises(PlanNotReady, match="not ready yet: wait") as refused:
        applying.request_apply(actor=stage.alice, plan=plan)
    assert "plan again" not in str(refused.value)


def test_it_pushes_a_change(stage: Stage) -> None:
    stage.keep("app/one", "first")
    stage.sync()
    stage.keep("app/one", "second")
    plan = stage.sync(rest=True)
    assert plan.counts == {"update": 1}
    assert stage.theirs("app/one") == "second"
    assert stage.sync().counts == {"unchanged": 1}


def test_it_keeps_an_edit_between_plan_and_apply(stage: Stage) -> None:
    stage.rules(conflict="keeper_wins")
    stage.keep("app/one", "first")
    stage.sync()
    stage.keep("app/one", "second")
    plan = stage.plan()
    stage.edit("app/one", "edited by hand")
    stage.world_rest()
    stage.apply(plan)
    assert stage.theirs("app/one") == "edited by hand"
    (item,) = PlanItem.objects.filter(plan=plan)
    assert item.state == "skipped"
    assert "changed" in item.error


def test_it_keeps_a_change_in_keeper_between_plan_and_apply(stage: Stage) -> None:
    stage.keep("app/one", "first")
    plan = stage.plan()
    stage.keep("app/one", "second")
    stage.apply(plan)
    assert stage.items(plan) == {"app/one": ("create", "skipped")}
    stage.sync()
    assert stage.theirs("app/one") == "second"


def test_it_pulls_what_exists(stage: Stage) -> None:
    stage.rules(direction="pull")
    stage.edit("app/text", "plain ${not/a/reference}")
    stage.edit("app/json", '{"user": "u"}')
    plan = stage.sync()
    assert plan.counts == {"pull": 2}
    assert stage.value("app/text") == "plain ${not/a/reference}"
    assert stage.secret("app/text").secret_type == "TEXT"
    assert stage.secret("app/json").secret_type == "JSON"
    assert stage.sync().counts == {"unchanged": 2}
    assert stage.world.labels(stage.path("app/text")) == {}


def test_it_deletes_what_was_deleted_in_keeper(stage: Stage) -> None:
    stage.rules(deletion="recoverable", budget_percent=50)
    for name in ("one", "two"):
        stage.keep(name, name)
    stage.sync()
    stage.drop("one")
    plan = stage.sync()
    assert plan.counts == {"delete": 1, "unchanged": 1}
    assert stage.items(plan) == {"one": ("delete", "done")}
    with pytest.raises(Exception):  # noqa: B017, PT011
        stage.theirs("one")
    assert stage.theirs("two") == "two"
    assert stage.sync().counts == {"unchanged": 2}
