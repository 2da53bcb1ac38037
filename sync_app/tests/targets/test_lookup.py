"""Who finds a target, its plans and their items, and as whom a run works on one."""

from typing import Any

import pytest
from django.utils import timezone

from audit_app.events.actions import Action
from environments_app.errors import Forbidden, Invisible, Tampered
from environments_app.models import Environment, Role
from environments_app.tests.cast import Cast
from sync_app.errors import TargetConflict
from sync_app.models import Plan, Run, Target
from sync_app.targets.credentials import load_run_principal, require_usable, target_principal
from sync_app.targets.destinations import overlapping_targets
from sync_app.targets.lookup import (
    find_item,
    find_plan,
    find_target,
    overview_targets,
    require_target_access,
    visible_targets,
)
from sync_app.tests.shown import make_item, make_plan, make_run, make_target

pytestmark = pytest.mark.django_db


@pytest.fixture
def target(cast: Cast) -> Target:
    return make_target(cast.development, scope="team")


def removed(target: Target) -> Target:
    target.live = None
    target.save()
    return target


def test_a_target_and_its_plans_are_found_in_their_environment_alone(cast: Cast, target: Target) -> None:
    alice, plan = cast.principal(cast.alice), make_plan(target)
    other = make_target(cast.production, "other")
    assert find_target(actor=alice, environment=cast.development, id=target.pk) == target
    assert find_plan(actor=alice, environment=cast.development, id=plan.pk) == plan
    for find, row in ((find_target, target), (find_plan, plan)):
        with pytest.raises(Invisible):
            find(actor=alice, environment=cast.production, id=row.pk)
    assert overview_targets(alice, cast.development) == [target]
    assert overview_targets(alice, cast.production) == [other]
    assert overview_targets(cast.principal(cast.charlie), cast.development) == []


def test_a_target_that_was_removed_is_found_by_its_plans_alone(cast: Cast, target: Target) -> None:
    alice, plan = cast.principal(cast.alice), make_plan(target)
    removed(target)
    assert not visible_targets(alice).exists()
    with pytest.raises(Invisible):
        find_target(actor=alice, environment=cast.development, id=target.pk)
    assert find_plan(actor=alice, environment=cast.development, id=plan.pk) == plan


def test_who_may_not_see_a_target_finds_no_plan_of_it(cast: Cast, target: Target) -> None:
    plan = make_plan(target)
    with pytest.raises(Invisible):
        find_plan(actor=cast.principal(cast.charlie), environment=cast.development, id=plan.pk)


def test_an_item_is_found_in_its_own_plan(target: Target) -> None:
    plan, other = make_plan(target), make_plan(target)
    item = make_item(plan, "team/a")
    assert find_item(plan=plan, id=item.pk) == item
    with pytest.raises(Invisible):
        find_item(plan=other, id=item.pk)


@pytest.mark.parametrize(
    ("who", "error"), [("erin", Forbidden), ("bob", Forbidden), ("vera", Forbidden), ("charlie", Invisible)]
)
def test_a_right_that_is_missing_is_told_to_who_sees_the_target(
    cast: Cast, target: Target, who: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        require_target_access(
            actor=cast.principal(getattr(cast, who)), action=Action.TARGET_REMOVE, target=target
        )


def test_nothing_goes_out_of_an_environment_that_was_deleted(target: Target) -> None:
    require_usable(target)
    target.environment.deleted_at = timezone.now()
    with pytest.raises(TargetConflict, match="environment was deleted"):
        require_usable(target)


def own_run(target: Target, **options: Any) -> Run:
    """Store a run of Keeper's own, with its plan."""
    run = make_run(target, plan=make_plan(target, **options))
    run.actor_kind = "system"
    run.save()
    return run


@pytest.mark.parametrize(
    ("kind", "role"), [("sync", Role.EDITOR), ("adopt", Role.MANAGER), ("disconnect", Role.MANAGER)]
)
def test_keeper_works_within_the_scope_and_for_what_the_plan_is(
    target: Target, kind: str, role: Role
) -> None:
    (grant,) = load_run_principal(own_run(target, kind=kind)).grants
    assert (grant.role, grant.prefix, grant.environment_id) == (role, "team", target.environment_id)
    (own,) = target_principal(target).grants
    assert (own.role, own.prefix) == (Role.EDITOR, "team")


@pytest.mark.parametrize(
    ("rows", "change", "what"),
    [(Run, {"kind": "sync"}, "run's record"), (Plan, {"options": {"beyond_budget": True}}, "plan's record")],
)
def test_a_run_or_a_plan_that_keeper_did_not_write_does_nothing(
    target: Target, rows: Any, change: dict[str, Any], what: str
) -> None:
    run = own_run(target)
    load_run_principal(run)
    rows.objects.update(**change)
    with pytest.raises(Tampered, match=what):
        load_run_principal(Run.objects.select_related("plan", "target__environment").get(pk=run.pk))


def test_two_living_targets_of_a_place_are_told_as_the_younger_and_the_older(cast: Cast) -> None:
    def at(name: str, place: str, environment: Environment = cast.development) -> Target:
        return make_target(environment, name, place=place, system="vault/c1/secret")

    older, younger = at("a", "team"), at("b", "team/x", cast.production)
    at("c", "teams")
    assert [*overlapping_targets()] == [(younger, older)]
    removed(older)
    assert [*overlapping_targets()] == []
