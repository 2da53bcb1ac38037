"""What a plan may be asked for, under which rules it is made, and why one delivered nothing."""

from contextlib import nullcontext
from typing import Any

import pytest

from environments_app.errors import Forbidden
from environments_app.tests.cast import Cast
from sync_app.applying.preconditions import TOO_SOON
from sync_app.applying.service import explain_nothing_delivered, request_resolution
from sync_app.errors import NotResolvable, PlanNotReady
from sync_app.models import Plan, Target
from sync_app.models.plan import PlanKind
from sync_app.planning.service import MAX_NAMES, request_plan, request_repeat, rules_snapshot
from sync_app.tests.shown import make_item, make_plan, make_target

pytestmark = pytest.mark.django_db


@pytest.fixture
def target(cast: Cast) -> Target:
    return make_target(cast.development)


def asked(cast: Cast, target: Target, kind: PlanKind, options: Any) -> dict[str, Any]:
    run = request_plan(actor=cast.principal(cast.alice), target=target, kind=kind, options=options)
    assert run.plan is not None
    return dict(run.plan.options)


@pytest.mark.parametrize(
    ("kind", "options", "kept"),
    [
        (PlanKind.SYNC, {}, {}),
        (PlanKind.SYNC, {"beyond_budget": True}, {"beyond_budget": True}),
        # Only the word lets any number be deleted, and no other option passes.
        (PlanKind.SYNC, {"beyond_budget": "yes"}, {}),
        (PlanKind.SYNC, {"beyond_budget": 1}, {}),
        (PlanKind.SYNC, {"approval": "x", "choice": "keep_ours"}, {}),
        (PlanKind.DISCONNECT, {"mode": "leave", "names": ["a"]}, {"mode": "leave"}),
        (
            PlanKind.ADOPT,
            {"mode": "replace", "names": ["b", "a", "b"], "approval": "x"}, {"mode": "replace", "names": ["a", "b"]},
        ),
    ],
)  # fmt: skip
def test_a_plan_has_the_options_of_its_kind_alone(
    cast: Cast, target: Target, kind: PlanKind, options: dict[str, Any], kept: dict[str, Any]
) -> None:
    assert asked(cast, target, kind, options) == kept


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (PlanKind.DISCONNECT, {}),
        (PlanKind.DISCONNECT, {"mode": "forget"}),
        (PlanKind.ADOPT, {"mode": "forget", "names": ["a"]}),
        (PlanKind.ADOPT, {"names": ["a"]}),
        (PlanKind.ADOPT, {"mode": "replace"}),
        (PlanKind.ADOPT, {"mode": "replace", "names": []}),
        (PlanKind.ADOPT, {"mode": "replace", "names": "a"}),
        (PlanKind.ADOPT, {"mode": "replace", "names": [str(each) for each in range(MAX_NAMES + 1)]}),
    ],
)
def test_what_a_plan_cannot_be_asked_for_is_refused(
    cast: Cast, target: Target, kind: PlanKind, options: dict[str, Any]
) -> None:
    with pytest.raises(PlanNotReady):
        asked(cast, target, kind, options)
    assert not Plan.objects.exists()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (PlanKind.SYNC, {}),
        (PlanKind.ADOPT, {"mode": "replace", "names": ["a"]}),
        (PlanKind.DISCONNECT, {"mode": "leave"}),
    ],
)
def test_a_plan_of_each_kind_is_asked_for_by_the_right_of_that_kind(
    cast: Cast, target: Target, kind: PlanKind, options: dict[str, Any]
) -> None:
    """An editor keeps the target in step; only a manager adopts what is there, or lets go of it."""
    is_editors = kind is PlanKind.SYNC
    with nullcontext() if is_editors else pytest.raises(Forbidden):
        request_plan(actor=cast.principal(cast.erin), target=target, kind=kind, options=options)
    assert Plan.objects.exists() is is_editors
    if not is_editors:
        asked(cast, target, kind, options)
        assert Plan.objects.exists()


def test_as_many_names_as_a_plan_takes_are_asked_for(cast: Cast, target: Target) -> None:
    names = [str(each) for each in range(MAX_NAMES)]
    assert asked(cast, target, PlanKind.ADOPT, {"mode": "replace", "names": names})["names"] == sorted(names)


def test_a_repeat_asks_for_the_same_without_the_choice_or_the_approval(cast: Cast, target: Target) -> None:
    plan = make_plan(target, options={"beyond_budget": True, "approval": "x", "choice": "keep_ours"})
    run = request_repeat(actor=cast.principal(cast.alice), plan=plan)
    assert run.plan is not None
    assert run.plan.options == {"beyond_budget": True}


@pytest.mark.parametrize(
    ("act", "choice"),
    [("conflict", ""), ("conflict", "keep_both"), ("create", "keep_ours"), ("refused", "take_theirs")],
)
def test_there_is_nothing_to_choose_but_a_side_of_a_conflict(
    cast: Cast, target: Target, act: str, choice: str
) -> None:
    item = make_item(make_plan(target), "a", act)
    with pytest.raises(NotResolvable):
        request_resolution(actor=cast.principal(cast.alice), item=item, choice=choice)


@pytest.mark.parametrize(
    "change",
    [
        {"direction": "both"}, {"conflict": "keeper_wins"}, {"deletion": "recoverable"}, {"budget_number": 7},
        {"budget_percent": 7}, {"scope": "team"}, {"only_tags": "a"}, {"endpoint": "https://other.example"},
        {"destination": {"objects": "merge"}}, {"destination": {"kms_key_id": "k"}},
        {"destination": {"recovery_window_days": "7"}},
    ],
    ids=str,
)  # fmt: skip
def test_a_plan_notes_the_rules_and_how_it_is_carried_out(target: Target, change: dict[str, Any]) -> None:
    before = rules_snapshot(target)
    for name, value in change.items():
        setattr(target, name, value)
    assert rules_snapshot(target) != before


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([], ""),
        ([("a", "done", ""), ("b", "failed", "no right")], ""),
        (
            [("b", "failed", "no right"), ("a", "skipped", "changed")],
            "nothing was delivered: a: changed; and 1 more",
        ),
        ([("a", "failed", "no right")], "nothing was delivered: a: no right"),
        # What waits for its time is no failure.
        ([("a", "skipped", f"{TOO_SOON} in 10 minutes")], ""),
        (
            [("a", "skipped", f"{TOO_SOON} in 10 minutes"), ("b", "failed", "x")],
            "nothing was delivered: b: x",
        ),
        ([("a", "planned", "")], ""),
    ],
)
def test_a_plan_that_delivered_nothing_says_why(
    target: Target, items: list[tuple[str, str, str]], told: str
) -> None:
    plan = make_plan(target)
    for name, state, error in items:
        make_item(plan, name, state=state, error=error)
    make_item(plan, "conflicting", "conflict", state="skipped", error="wants a decision")
    assert explain_nothing_delivered(plan) == told
