"""What counts against the deletion budget and towards a contest: each row that should, and no other."""

from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from environments_app.tests.cast import Cast
from sync_app.domain.reconciliation import Decision, DeletionBudget, Outcome, Reason
from sync_app.jobs.leases import database_now
from sync_app.models import Plan, PlanItem, Target
from sync_app.models.plan import Act, ItemState, PlanKind
from sync_app.state import contests
from sync_app.state.deletions import load_budget
from sync_app.tests.shown import make_item, make_plan, make_target

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def target(cast: Cast) -> Target:
    return make_target(cast.development)


def carried_out(plan: Plan, name: str, act: Act, *, ago: timedelta = MINUTE, **fields: Any) -> PlanItem:
    """Store an item of a plan that ended so long ago, of a plan that was made then."""
    at = database_now() - ago
    item = make_item(plan, name, act, **({"state": ItemState.DONE, "finished_at": at} | fields))
    Plan.objects.filter(pk=plan.pk).update(created_at=at)
    return item


DAY = timedelta(hours=24)


@pytest.mark.parametrize(
    ("plan", "item", "counts"),
    [
        ({}, {}, True),
        ({}, {"state": ItemState.FAILED}, True),
        # What was intended may have happened: it counts from when its plan was made.
        ({}, {"state": ItemState.INTENDED, "finished_at": None}, True),
        ({}, {"state": ItemState.INTENDED, "finished_at": None, "ago": DAY + MINUTE}, False),
        ({}, {"ago": DAY - MINUTE}, True),
        ({}, {"ago": DAY + MINUTE}, False),
        ({}, {"state": ItemState.FAILED, "ago": DAY + MINUTE}, False),
        ({}, {"state": ItemState.SKIPPED}, False),
        ({}, {"state": ItemState.PLANNED}, False),
        ({}, {"act": Act.UPDATE}, False),
        ({}, {"act": Act.RELEASE}, False),
        ({"kind": PlanKind.DISCONNECT}, {}, False),
        ({"kind": PlanKind.ADOPT}, {}, False),
    ],
    ids=str,
)
def test_what_counts_against_the_budget(
    cast: Cast, target: Target, settings: Settings, plan: dict[str, Any], item: dict[str, Any], counts: bool
) -> None:
    settings.KEEPER_DELETION_WINDOW_HOURS = 24
    made = make_plan(target, **plan)
    carried_out(made, "one", **({"act": Act.DELETE} | item))
    assert load_budget(target).withdrawn == counts
    # But for the plan that asks, and not of another target.
    assert load_budget(target, besides=made).withdrawn == 0
    assert load_budget(target, besides=make_plan(target)).withdrawn == counts
    assert load_budget(make_target(cast.development, "other")).withdrawn == 0


@pytest.mark.parametrize(
    ("number", "percent", "withdrawn", "owned", "most"),
    [
        (10, 10, 0, 100, 10),
        (10, 10, 0, 99, 9),
        (10, 10, 0, 200, 10),
        # A share of few is one, and of none asked for, none.
        (10, 10, 0, 3, 1),
        (10, 0, 0, 100, 0),
        (0, 10, 0, 100, 0),
        (10, 100, 0, 4, 4),
        # What was deleted before counts against both, and was owned at the beginning.
        (10, 10, 4, 96, 6),
        (10, 10, 10, 90, 0),
        (10, 10, 11, 90, -1),
    ],
)
def test_so_many_are_deleted_and_not_one_more(
    number: int, percent: int, withdrawn: int, owned: int, most: int
) -> None:
    budget = DeletionBudget(number=number, percent=percent, withdrawn=withdrawn)
    assert [n for n in range(owned + 2) if budget.allows(deleted=n, owned=owned)] == [*range(most + 1)]


CHANGED = Decision(Outcome.UPDATE, Reason.TARGET_CHANGED)


def waits(target: Target, decision: Decision = CHANGED) -> contests.WaitingWrite | None:
    return contests.find_contested_writes(target, {"one": decision}).get("one")


@pytest.mark.parametrize(
    ("item", "counts"),
    [
        ({}, True),
        ({"reason": str(Reason.BOTH_CHANGED)}, True),
        ({"reason": str(Reason.LOST), "act": Act.CREATE}, True),
        ({"reason": str(Reason.RESTORED)}, True),
        ({"reason": str(Reason.KEEPER_CHANGED)}, False),
        ({"reason": "Keeper's value was chosen"}, False),
        ({"act": Act.PULL}, False),
        ({"state": ItemState.SKIPPED}, False),
        ({"state": ItemState.FAILED}, False),
        ({"ago": contests.WINDOW + MINUTE}, False),
        ({"name": "two"}, False),
    ],
    ids=str,
)
def test_what_counts_towards_a_contest(
    cast: Cast, target: Target, item: dict[str, Any], counts: bool
) -> None:
    given = {"name": "one", "act": Act.UPDATE, "reason": str(Reason.TARGET_CHANGED)} | item
    for _ in range(contests.AT_ONCE - 1):
        carried_out(make_plan(target), **given)
    assert waits(target) is None
    carried_out(make_plan(target), **given)
    assert (waits(target) is not None) is counts
    assert waits(make_target(cast.development, "other")) is None
    # A change of Keeper's own is written however often.
    assert waits(target, Decision(Outcome.UPDATE, Reason.KEEPER_CHANGED)) is None


@pytest.mark.parametrize(
    ("times", "minutes", "held"),
    [(3, 4, True), (3, 6, False), (4, 9, True), (4, 11, False), (5, 19, True), (5, 21, False)],
)
def test_the_wait_doubles(target: Target, times: int, minutes: int, held: bool) -> None:
    reason = str(Reason.TARGET_CHANGED)
    for _ in range(times - 1):
        carried_out(make_plan(target), "one", Act.UPDATE, reason=reason, ago=timedelta(hours=5))
    carried_out(make_plan(target), "one", Act.UPDATE, reason=reason, ago=timedelta(minutes=minutes))
    assert (waits(target) is not None) is held


def test_from_so_many_times_on_a_person_is_asked(target: Target) -> None:
    for _ in range(contests.CONTESTED):
        assert waits(target) is None
        reason = str(Reason.TARGET_CHANGED)
        carried_out(make_plan(target), "one", Act.UPDATE, reason=reason, ago=timedelta(hours=20))
    held = waits(target)
    assert held is not None
    assert (held.act, "contested" in held.reason) == (Act.DRIFTED, True)
    gone = waits(target, Decision(Outcome.CREATE, Reason.LOST))
    assert gone is not None
    assert gone.act == Act.MISSING
