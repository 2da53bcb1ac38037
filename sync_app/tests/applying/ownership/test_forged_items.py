"""Whoever can write to the database makes a plan do nothing that the target's rules, or a person, would not.

The items of a plan carry no MAC: here each is edited between the plan and its being carried out. The
plan itself carries one, which is asked for before anything is read from it.
"""

from typing import Any

import pytest

from environments_app.tests.cast import Cast
from sync_app.applying import service as applying
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.models import Plan, PlanItem, Run
from sync_app.models.plan import PlanKind
from sync_app.planning import service as planning
from sync_app.runs import runner as runs_runner
from sync_app.targets.credentials import TargetSession
from sync_app.tests.applying.stage import Stage
from tests.aws_strict.faults import Fault

pytestmark = pytest.mark.every_database_weekly


def forged(plan: Plan, name: str, **columns: Any) -> Plan:
    """Edit an item as if it had been planned so, and make the plan wait to be applied."""
    PlanItem.objects.filter(plan=plan, name=name).update(state="planned", **columns)
    Plan.objects.filter(pk=plan.pk).update(state="ready")
    plan.refresh_from_db()
    return plan


def synced_and_edited_on_both_sides(stage: Stage) -> None:
    stage.keep("app/one", "first")
    stage.sync()
    stage.edit("app/one", "by hand")
    stage.keep("app/one", "second")
    stage.world_rest()


def test_a_conflict_that_is_made_an_update_overwrites_nothing(stage: Stage) -> None:
    synced_and_edited_on_both_sides(stage)
    plan = stage.plan()
    assert stage.items(plan) == {"app/one": ("conflict", "skipped")}
    stage.apply(forged(plan, "app/one", act="update"))
    assert stage.theirs("app/one") == "by hand"
    assert stage.items(plan) == {"app/one": ("update", "skipped")}


def test_a_conflict_that_is_made_a_pull_overwrites_nothing(stage: Stage) -> None:
    stage.rules(direction="both")
    synced_and_edited_on_both_sides(stage)
    plan = stage.plan()
    stage.apply(forged(plan, "app/one", act="pull"))
    assert stage.value("app/one") == "second"


def test_what_somebody_deleted_there_is_not_brought_back(stage: Stage) -> None:
    stage.keep("app/one", "first")
    stage.sync()
    stage.world.remove(stage.path("app/one"))
    plan = stage.plan()
    assert stage.items(plan) == {"app/one": ("missing", "skipped")}
    stage.apply(forged(plan, "app/one", act="update"))
    with stage.world.backend() as backend:
        assert backend.get_metadata("app/one").presence == "deleted"


def test_taking_leave_deletes_nothing_that_was_changed_there(stage: Stage) -> None:
    stage.keep("app/one", "first")
    stage.sync()
    stage.edit("app/one", "by hand")
    stage.world_rest()
    plan = stage.plan(kind=PlanKind.DISCONNECT, options={"mode": "withdraw"})
    assert stage.items(plan) == {"app/one": ("release", "planned")}
    stage.apply(forged(plan, "app/one", act="delete"))
    assert stage.theirs("app/one") == "by hand"
    assert stage.items(plan) == {"app/one": ("delete", "skipped")}


def test_taking_leave_that_leaves_deletes_nothing(stage: Stage) -> None:
    stage.keep("app/one", "first")
    stage.sync()
    plan = stage.plan(kind=PlanKind.DISCONNECT, options={"mode": "leave"})
    assert stage.items(plan) == {"app/one": ("release", "planned")}
    stage.apply(forged(plan, "app/one", act="delete"))
    assert stage.theirs("app/one") == "first"
    assert stage.items(plan) == {"app/one": ("delete", "skipped")}


@pytest.mark.parametrize("rules", [{"deletion": "never"}, {"direction": "pull"}], ids=str)
def test_what_the_rules_never_delete_stays(stage: Stage, rules: dict[str, str]) -> None:
    stage.rules(deletion="recoverable", budget_percent=100)
    stage.keep("app/one", "first")
    stage.keep("app/two", "second")
    stage.sync()
    stage.drop("app/one")
    stage.rules(**rules)
    stage.edit("app/three", "theirs")
    plan = stage.plan()
    stage.apply(forged(plan, "app/one", act="delete"))
    assert stage.theirs("app/one") == "first"


def test_a_choice_is_for_one_secret_alone(stage: Stage) -> None:
    for name in ("app/one", "app/two"):
        stage.keep(name, "first")
    stage.sync()
    for name in ("app/one", "app/two"):
        stage.edit(name, "by hand")
        stage.keep(name, "second")
    stage.world_rest()
    plan = stage.plan()
    item = PlanItem.objects.select_related("plan__target__environment").get(plan=plan, name="app/one")
    other = PlanItem.objects.get(plan=plan, name="app/two")
    run = applying.request_resolution(actor=stage.alice, item=item, choice="take_theirs")
    with TargetSession(run.target) as session:
        planning.make_plan(run, session=session)
    made = run.plan
    assert made is not None
    PlanItem.objects.filter(pk=other.pk).update(plan=made, act="pull", state="planned")
    done = runs_runner.execute(run.pk)
    assert done is not None
    assert (done.state, stage.items(made)["app/two"]) == ("done", ("pull", "skipped"))
    assert (stage.value("app/one"), stage.value("app/two")) == ("by hand", "second")


def test_a_plan_that_is_still_being_made_becomes_no_other(cast: Cast, aws: AwsWorld) -> None:
    stage = Stage(cast, aws)
    stage.keep("app/one", "first")
    stage.sync()
    run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())
    aws.plan.keep_failing("ListSecrets", Fault.THROTTLE)
    waiting = runs_runner.execute(run.pk)
    assert waiting is not None
    assert waiting.plan is not None
    assert (waiting.state, waiting.plan.state) == ("queued", "making")
    aws.plan.recover()
    Plan.objects.filter(pk=waiting.plan.pk).update(kind="disconnect", options={"mode": "withdraw"})
    Run.objects.filter(pk=run.pk).update(not_before=None)
    done = runs_runner.execute(run.pk)
    assert done is not None
    assert done.plan is not None
    assert (done.state, done.plan.state, done.plan.is_authentic()) == ("failed", "failed", False)
    assert stage.theirs("app/one") == "first"


def test_a_version_of_theirs_that_is_called_our_write_is_neither_deleted_nor_taken_for_it(
    stage: Stage,
) -> None:
    stage.rules(deletion="recoverable", budget_percent=100)
    for name in ("app/deleted", "app/updated"):
        stage.keep(name, "first")
    stage.sync()
    stage.drop("app/deleted")
    stage.keep("app/updated", "second")
    stage.world_rest()
    plan = stage.plan()
    for name in ("app/deleted", "app/updated"):
        stage.edit(name, "theirs")
        with stage.world.backend() as backend:
            forged(plan, name, token=backend.get_metadata(name).version)
    stage.apply(plan)
    assert stage.items(plan) == {
        "app/deleted": ("delete", "skipped"),
        "app/updated": ("update", "skipped"),
    }
    assert (stage.theirs("app/deleted"), stage.theirs("app/updated")) == ("theirs", "theirs")
    assert stage.entry("app/updated").state == "pending"


def test_a_version_that_the_target_never_had_is_written_over_by_nobody(stage: Stage) -> None:
    stage.rules(conflict="keeper_wins")
    synced_and_edited_on_both_sides(stage)
    plan = stage.plan()
    stage.apply(forged(plan, "app/one", target_version="no version"))
    assert stage.theirs("app/one") == "by hand"
    assert stage.items(plan) == {"app/one": ("update", "skipped")}
