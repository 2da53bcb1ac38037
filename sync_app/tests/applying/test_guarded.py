"""A guarded secret is delivered to no target, by itself or in another value, and by no rotation."""

from typing import Any

import pytest

from environments_app.tests.cast import Cast
from secrets_app.errors import GuardedValue
from secrets_app.models import Secret
from secrets_app.services import guarded, write
from secrets_app.types.registry import SecretType
from sync_app.errors import SyncError
from sync_app.models import Rotation
from sync_app.models.plan import PlanKind
from sync_app.rotation.execution import dry_run, runner
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies import service as policies
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database_weekly


def guard(stage: Stage, name: str) -> Secret:
    return guarded.guard(actor=stage.alice, secret=stage.secret(name))


def test_what_was_delivered_stays_and_no_new_value_follows(stage: Stage) -> None:
    stage.keep("app/one", "first")
    stage.keep("app/two", "plain")
    stage.sync()
    guard(stage, "app/one")
    stage.keep("app/one", "second")
    stage.keep("app/two", "changed")
    plan = stage.sync(rest=True)
    assert (stage.theirs("app/one"), stage.theirs("app/two")) == ("first", "changed")
    item = plan.items.get(name="app/one")
    assert item.act == "refused"
    assert "guarded" in item.reason


@pytest.mark.parametrize("direction", ["push", "pull", "both"])
def test_a_plan_says_the_same_whatever_the_target_holds(stage: Stage, direction: str) -> None:
    stage.keep("app/one", "7390")
    stage.sync()
    guard(stage, "app/one")
    stage.keep("app/one", "7391")
    stage.rules(direction=direction)
    told: set[object] = set()
    for guess in (None, "7390", "7391", "7392"):
        if guess is not None:
            stage.edit("app/one", guess)
        plan = stage.plan()
        told |= {(item.act, item.reason) for item in plan.items.filter(name="app/one")}
        told.add(str(plan.counts))
    assert len(told) == 2


def test_a_value_that_refers_to_it_is_not_delivered(stage: Stage) -> None:
    stage.keep("app/part", "hidden-part")
    write.create(
        actor=stage.alice,
        environment=stage.environment,
        name="app/whole",
        secret_type=SecretType.TEXT,
        value="with ${development/app/part}",
        uses_references=True,
    )
    guard(stage, "app/part")
    failed = stage.sync()
    assert {item.state for item in failed.items.all()} <= {"failed", "skipped"}
    found = stage.plan().items.get(name="app/whole")
    assert "guarded" in f"{found.reason} {found.error}"


def test_a_policy_that_was_there_before_opens_nothing(cast: Cast, monkeypatch: Any) -> None:
    alice = cast.principal(cast.alice)
    secret = write.create(
        actor=alice,
        environment=cast.development,
        name="app/db",
        secret_type=SecretType.TEXT,
        value="old-value",
    )
    policy = policies.create(actor=alice, secret=secret, rotator="generated", settings={}, credentials={})
    guarded.guard(actor=alice, secret=Secret.objects.select_related("environment").get(pk=secret.pk))
    policy = type(policy).objects.select_related("environment", "secret__environment").get(pk=policy.pk)
    with pytest.raises((GuardedValue, SyncError)):
        dry_run.run_dry_run(actor=alice, policy=policy)
    rotation = request_rotation(actor=alice, policy=policy)
    runner.execute(rotation.pk)
    assert Rotation.objects.get(pk=rotation.pk).step != "done"


def test_a_takeover_tells_nobody_whether_the_values_are_the_same(stage: Stage) -> None:
    stage.keep("app/two", "7391")
    guard(stage, "app/two")
    told = set()
    for guess in ("7391", "7392"):
        stage.edit("app/two", guess)
        options = {"mode": "only_if_equal", "names": ["app/two"]}
        (item,) = stage.plan(kind=PlanKind.ADOPT, options=options).items.all()
        told.add((item.act, item.reason))
    ((act, reason),) = told
    assert act == "refused"
    assert "guarded" in reason
