"""An approved plan meets a target that changed meanwhile: it is refused with a sentence, and nothing is written."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from audit_app.events.actions import Action
from audit_app.tests.trail import take_away
from environments_app.approvals import service as approvals
from environments_app.environments import service as environments
from environments_app.errors import AccessError, ApprovalNeeded, ApprovalVoid
from environments_app.models import Approval, ApprovalState, Membership, Role
from sync_app.applying import service as applying
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.errors import SyncError
from sync_app.models import Plan, PlanItem, Run
from sync_app.runs import runner as runs_runner
from sync_app.state.deletions import BEYOND_BUDGET
from sync_app.targets import service as targets
from sync_app.targets.approval import APPROVAL, load_approval
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.django_db

Change = Callable[[Stage, Plan], object]
NAMES = ("changed", "new")


@pytest.fixture
def protected(stage: Stage) -> Stage:
    """A protected environment in which erin decides on what alice asks for, with a plan to write two secrets."""
    Membership.objects.filter(user=stage.cast.erin).update(role=Role.MANAGER)
    for row in Membership.objects.filter(user=stage.cast.erin):
        row.save()
    stage.keep("changed", "first")
    stage.keep("dropped", "first")
    stage.rules(deletion="recoverable", budget_percent=100)
    stage.sync()
    stage.keep("changed", "second")
    stage.keep("new", "value")
    stage.drop("dropped")
    environments.update_environment(actor=stage.alice, environment=stage.environment, protected=True)
    stage.environment.refresh_from_db()
    stage.world_rest()
    return stage


def change_rules(stage: Stage, _plan: Plan) -> None:
    targets.change(actor=stage.alice, target=stage.fresh(), conflict="keeper_wins")


def change_address(stage: Stage, _plan: Plan) -> None:
    """Name the same system by another address, as with a proxy before it."""
    field = "endpoint" if isinstance(stage.world, AwsWorld) else "address"
    address = stage.world.destination[field].replace("127.0.0.1", "localhost")
    change_destination(stage, {field: address})


def change_destination(stage: Stage, destination: dict[str, str]) -> None:
    targets.change_credentials(
        actor=stage.alice,
        target=stage.fresh(),
        credentials=stage.world.credentials,
        destination=destination,
    )


def change_window(stage: Stage, _plan: Plan) -> None:
    change_destination(stage, {"recovery_window_days": "7"})


def plan_again(stage: Stage, _plan: Plan) -> None:
    stage.plan()


def change_an_item(_stage: Stage, plan: Plan) -> None:
    PlanItem.objects.filter(plan=plan, name="changed").update(target_version="")


def add_an_item(_stage: Stage, plan: Plan) -> None:
    item = PlanItem.objects.get(plan=plan, name="new")
    item.pk, item.name = None, "other"
    item.save(force_insert=True)


def pause(stage: Stage, _plan: Plan) -> None:
    targets.pause(actor=stage.alice, target=stage.fresh())


def lose_the_right(stage: Stage, _plan: Plan) -> None:
    take_away(Membership.objects.filter(user=stage.cast.alice))


CHANGES: dict[str, tuple[Change, str]] = {
    "rules": (change_rules, "rules or address changed"),
    "address": (change_address, "rules or address changed"),
    "recovery window": (change_window, "rules or address changed"),
    "a newer plan": (plan_again, "the plan is superseded"),
    "an item": (change_an_item, "approved|meanwhile"),
    "one more item": (add_an_item, "approved|meanwhile"),
    "a pause": (pause, "paused"),
    "the right": (lose_the_right, "right|may not|Not found|role"),
}


def as_it_was(stage: Stage) -> bool:
    """Return whether the target holds what it held before the plan."""
    gone = [stage.world.labels_or_none(stage.path(name)) is None for name in ("new", "other")]
    return all(gone) and [stage.theirs(name) for name in ("changed", "dropped")] == ["first", "first"]


def approved(stage: Stage, plan: Plan) -> Approval:
    with pytest.raises(ApprovalNeeded) as raised:
        applying.request_apply(actor=stage.alice, plan=plan)
    approval = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    erin = stage.cast.principal(stage.cast.erin)
    return approvals.approve(actor=erin, approval=approval)


def test_the_reviewer_sees_names_in_order_and_others_none(protected: Stage) -> None:
    approval = approved(protected, protected.plan())
    names = approvals.changed_names(protected.cast.principal(protected.cast.erin), approval)
    assert names
    assert names.rows == [("new", "create"), ("changed", "update"), ("dropped", "delete")]
    assert [line["label"] for line in approval.summary][:4] == ["Plan", "create", "update", "delete"]
    addresses = [line["after"].split() for line in approval.summary if line["label"] == "Address"]
    assert all(len(each) == len(set(each)) == 1 for each in addresses)
    assert approvals.changed_names(protected.cast.principal(protected.cast.charlie), approval) is None


REFUSED_DURING_A_RUN = "a newer plan"
# What Keeper finds out of its own rows depends on the system only for the address and its options.
IN_AWS = {"address", "recovery window"}


def cases(*, left_out: str = "") -> list[Any]:
    return [
        pytest.param(world, change, sentence, id=f"{world}-{name}")
        for name, (change, sentence) in CHANGES.items()
        for world in (("aws", "vault") if name in IN_AWS else ("vault",))
        if name != left_out and (world, name) != ("vault", "recovery window")
    ]


@pytest.mark.parametrize(("world", "change", "sentence"), cases(), indirect=["world"])
def test_what_changed_before_it_was_begun(protected: Stage, change: Change, sentence: str) -> None:
    plan = protected.plan()
    assert plan.counts == {"create": 1, "delete": 1, "update": 1}
    approval = approved(protected, plan)
    change(protected, plan)
    with pytest.raises((SyncError, AccessError), match=sentence):
        approvals.carry_out(actor=protected.alice, approval=approval)
    assert not Run.objects.filter(kind="apply", active=True).exists()
    assert as_it_was(protected)


@pytest.mark.parametrize(
    ("world", "change", "sentence"), cases(left_out=REFUSED_DURING_A_RUN), indirect=["world"]
)
def test_what_changed_before_a_worker_came(protected: Stage, change: Change, sentence: str) -> None:
    plan = protected.plan()
    approval = approved(protected, plan)
    approvals.carry_out(actor=protected.alice, approval=approval)
    change(protected, plan)
    run = runs_runner.execute(Run.objects.get(plan=plan, kind="apply").pk)
    assert run is not None
    assert (run.state, bool(run.error)) == ("queued" if "pause" in sentence else "failed", True)
    assert as_it_was(protected)


@pytest.mark.parametrize("side", ["Keeper", "target"])
def test_a_secret_that_changed_is_left_alone_and_the_rest_is_done(protected: Stage, side: str) -> None:
    plan = protected.plan()
    approval = approved(protected, plan)
    if side == "target":
        for name in ("changed", "new", "dropped"):
            protected.edit(name, "theirs")
    else:
        protected.environment.protected = False
        protected.environment.save()
        for name in ("changed", "new", "dropped"):
            protected.keep(name, "third")
        protected.environment.protected = True
        protected.environment.save()
    approvals.carry_out(actor=protected.alice, approval=approval)
    run = runs_runner.execute(Run.objects.get(plan=plan, kind="apply").pk)
    assert run is not None
    assert {state for _, state in protected.items(plan).values()} == {"skipped"}
    if side == "target":
        assert {protected.theirs(name) for name in ("changed", "new", "dropped")} == {"theirs"}
    else:
        assert as_it_was(protected)


def name_another(_approval: Approval, plan: Plan) -> None:
    plan.options = {**plan.options, APPROVAL: str(uuid4())}
    plan.save()


def take_back(approval: Approval, _plan: Plan) -> None:
    approval.state = ApprovalState.APPROVED
    approval.save()


def give_to_another_plan(approval: Approval, _plan: Plan) -> None:
    approval.object_uuid = uuid4()
    approval.save()


def edit(approval: Approval, _plan: Plan) -> None:
    Approval.objects.filter(pk=approval.pk).update(action=Action.TARGET_REMOVE)


@pytest.mark.parametrize("world", ["vault"], indirect=True)
@pytest.mark.parametrize("change", [name_another, take_back, give_to_another_plan, edit])
def test_a_plan_is_carried_out_by_its_own_approval_that_was_given(protected: Stage, change: Any) -> None:
    plan = protected.plan()
    approval = approved(protected, plan)
    approvals.carry_out(actor=protected.alice, approval=approval)
    plan = Plan.objects.select_related("target__environment").get(pk=plan.pk)
    load_approval(protected.alice, plan)
    change(Approval.objects.select_related("environment").get(pk=approval.pk), plan)
    with pytest.raises(ApprovalVoid):
        load_approval(protected.alice, plan)


@pytest.mark.parametrize("world", ["vault"], indirect=True)
def test_an_automatic_target_needs_no_approval_for_what_its_rules_do_alone(protected: Stage) -> None:
    plan = Plan.objects.select_related("target__environment").get(pk=protected.plan().pk)
    plan.target.environment = protected.environment
    with pytest.raises(ApprovalVoid):
        load_approval(protected.alice, plan)
    plan.target.automatic = True
    load_approval(protected.alice, plan)
    plan.options = {BEYOND_BUDGET: True}
    with pytest.raises(ApprovalVoid):
        load_approval(protected.alice, plan)


@pytest.mark.parametrize("world", ["vault"], indirect=True)
def test_what_decides_nothing_of_an_automatic_target_is_changed_without_an_approval(protected: Stage) -> None:
    protected.rules(automatic=True)
    changed = targets.change(actor=protected.alice, target=protected.fresh(), interval_seconds=120)
    assert changed.interval_seconds == 120
    for rules in ({"conflict": "keeper_wins"}, {"interval_seconds": 60, "deletion": "off"}):
        with pytest.raises(ApprovalNeeded):
            targets.change(actor=protected.alice, target=protected.fresh(), **rules)


def test_new_credentials_for_the_same_address_void_no_approval(protected: Stage) -> None:
    plan = protected.plan()
    approval = approved(protected, plan)
    change_destination(protected, {})
    approvals.carry_out(actor=protected.alice, approval=approval)
    run = runs_runner.execute(Run.objects.get(plan=plan, kind="apply").pk)
    assert run is not None
    assert (run.state, protected.theirs("changed"), protected.theirs("new")) == ("done", "second", "value")
