"""Choices about conflicts are staged in the plan that shows them, and applied with it, once."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from environments_app.approvals import service as approvals
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded
from environments_app.models import Approval, Membership, Role
from sync_app.applying import service as applying
from sync_app.errors import NotResolvable, PlanNotReady
from sync_app.models import Plan, PlanItem, Run
from sync_app.runs import runner as runs_runner
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database_weekly


@pytest.fixture
def plan(stage: Stage) -> Plan:
    """Return a plan with two conflicts, and one secret to create."""
    for name in ("one", "two"):
        stage.keep(name, "first")
    stage.sync()
    for name in ("one", "two"):
        stage.keep(name, "ours")
        stage.edit(name, "theirs")
    stage.keep("new", "value")
    made = stage.plan()
    assert made.counts == {"conflict": 2, "create": 1}
    stage.world_rest()
    return made


def ids(plan: Plan, **choices: str) -> dict[int, str]:
    return {PlanItem.objects.get(plan=plan, name=name).pk: choice for name, choice in choices.items()}


def applied(run: Run) -> Plan:
    done = runs_runner.execute(run.pk)
    assert done is not None
    assert (done.state, done.error) == ("done", "")
    assert done.plan is not None
    return done.plan


def test_all_is_applied_once_and_by_one_plan(stage: Stage, plan: Plan) -> None:
    choices = ids(plan, one="keep_ours", two="take_theirs")
    done = applied(applying.request_apply(actor=stage.alice, plan=plan, choices=choices))
    assert done.pk == plan.pk == Plan.objects.latest("pk").pk
    assert stage.items(done) == {
        "new": ("create", "done"),
        "one": ("update", "done"),
        "two": ("pull", "done"),
    }
    assert (stage.theirs("one"), stage.theirs("two"), stage.theirs("new")) == ("ours", "theirs", "value")
    assert (stage.value("one"), stage.value("two")) == ("ours", "theirs")
    assert stage.sync().counts == {"unchanged": 3}


def test_what_is_left_for_later_stays_a_conflict(stage: Stage, plan: Plan) -> None:
    applied(applying.request_apply(actor=stage.alice, plan=plan, choices=ids(plan, one="keep_ours")))
    assert (stage.theirs("one"), stage.theirs("two"), stage.value("two")) == ("ours", "theirs", "ours")
    assert stage.plan().counts == {"conflict": 1, "unchanged": 2}


@pytest.mark.parametrize("side", ["keeper", "target"])
def test_what_moved_since_it_was_chosen_is_left_alone(stage: Stage, plan: Plan, side: str) -> None:
    run = applying.request_apply(actor=stage.alice, plan=plan, choices=ids(plan, one="keep_ours"))
    if side == "target":
        stage.edit("one", "theirs, later")
    else:
        stage.keep("one", "ours, later")
    done = applied(run)
    assert stage.items(done)["one"] == ("update", "skipped")
    assert stage.theirs("one") == ("theirs, later" if side == "target" else "theirs")


def test_a_plan_of_conflicts_alone_is_taken_up_again(stage: Stage) -> None:
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "ours")
    stage.edit("one", "theirs")
    plan = stage.plan()
    assert plan.state == "done"
    stage.world_rest()
    applied(applying.request_apply(actor=stage.alice, plan=plan, choices=ids(plan, one="take_theirs")))
    assert stage.value("one") == "theirs"


def test_an_older_plan_and_one_that_was_applied_take_no_choice(stage: Stage, plan: Plan) -> None:
    chosen = ids(plan, one="keep_ours")
    newer = stage.plan()
    plan.refresh_from_db()
    with pytest.raises(PlanNotReady):
        applying.request_apply(actor=stage.alice, plan=plan, choices=chosen)
    applied(applying.request_apply(actor=stage.alice, plan=newer))
    newer.refresh_from_db()
    with pytest.raises(PlanNotReady):
        applying.request_apply(actor=stage.alice, plan=newer, choices=ids(newer, one="keep_ours"))
    assert stage.theirs("one") == "theirs"


def test_a_choice_that_does_not_fit_is_refused(stage: Stage, plan: Plan) -> None:
    PlanItem.objects.filter(plan=plan, name="one").update(target_presence="absent")
    for chosen in (
        ids(plan, one="take_theirs"),
        ids(plan, new="keep_ours"),
        ids(plan, two="both"),
        {0: "keep_ours"},
    ):
        with pytest.raises(NotResolvable):
            applying.request_apply(actor=stage.alice, plan=plan, choices=chosen)
    assert not Run.objects.filter(active=True).exists()


def test_a_forged_item_is_not_taken_for_chosen(stage: Stage, plan: Plan) -> None:
    run = applying.request_apply(actor=stage.alice, plan=plan, choices=ids(plan, one="take_theirs"))
    # A writer to the database turns the choice round, and adds one.
    PlanItem.objects.filter(plan=plan, name__in=["one", "two"]).update(act="update", state="planned")
    done = applied(run)
    assert {name: state for name, (_, state) in stage.items(done).items()} == {
        "new": "done", "one": "skipped", "two": "skipped",
    }  # fmt: skip
    assert (stage.theirs("one"), stage.theirs("two")) == ("theirs", "theirs")


def test_choices_are_approved_with_the_plan(stage: Stage, plan: Plan) -> None:
    Membership.objects.filter(user=stage.cast.erin).update(role=Role.MANAGER)
    for row in Membership.objects.filter(user=stage.cast.erin):
        row.save()
    environments.update_environment(actor=stage.alice, environment=stage.environment, protected=True)
    plan = Plan.objects.select_related("target__environment").get(pk=plan.pk)
    with pytest.raises(ApprovalNeeded) as raised:
        applying.request_apply(actor=stage.alice, plan=plan, choices=ids(plan, one="keep_ours"))
    assert stage.items(plan)["one"] == ("conflict", "skipped"), "nothing is staged before it is approved"
    approval = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    approval = approvals.approve(actor=stage.cast.principal(stage.cast.erin), approval=approval)
    approvals.carry_out(actor=stage.alice, approval=approval)
    applied(Run.objects.get(plan=plan, kind="apply"))
    assert (stage.theirs("one"), stage.theirs("two"), stage.theirs("new")) == ("ours", "theirs", "value")


def test_more_choices_take_no_more_statements(stage: Stage, plan: Plan) -> None:
    counts = []
    # The first round fills caches.
    for choices in ({"one": "keep_ours"}, {"one": "keep_ours"}, {"one": "keep_ours", "two": "keep_ours"}):
        with CaptureQueriesContext(connection) as asked:
            run = applying.request_apply(actor=stage.alice, plan=plan, choices=ids(plan, **choices))
        counts.append(len(asked) - len(choices))
        Run.objects.filter(pk=run.pk).update(state="failed", active=None)
        PlanItem.objects.filter(plan=plan, name__in=choices).update(act="conflict", state="skipped")
        plan = Plan.objects.select_related("target__environment").get(pk=plan.pk)
    assert counts[2] <= counts[1]
