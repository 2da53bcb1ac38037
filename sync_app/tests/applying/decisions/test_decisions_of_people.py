"""Adopting, taking leave, and settling conflicts: only what was chosen, only if it still is as it was seen."""

from typing import Any

import pytest

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from sync_app.applying import service as applying
from sync_app.applying.batch import Batch
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.observations import version_number
from sync_app.jobs.leases import database_now
from sync_app.models import Plan, PlanItem, Run, SyncEntry
from sync_app.models.plan import PlanKind
from sync_app.runs import runner as runs_runner
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database_weekly


def adopt(stage: Stage, mode: str, *names: str) -> Plan:
    plan = stage.plan(kind=PlanKind.ADOPT, options={"mode": mode, "names": list(names)})
    return stage.apply(plan) if plan.state == "ready" else plan


def resolved(stage: Stage, plan: Plan, choice: str) -> Plan:
    run = runs_runner.execute(
        applying.request_resolution(
            actor=stage.alice, item=PlanItem.objects.get(plan=plan, name="one"), choice=choice
        ).pk
    )
    assert run is not None
    assert run.plan is not None
    assert run.state == "done", run.error
    return run.plan


def in_conflict(stage: Stage) -> Plan:
    """Return a plan in which both sides of a secret changed."""
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "ours")
    stage.edit("one", "theirs")
    plan = stage.plan()
    assert plan.counts == {"conflict": 1}
    stage.world_rest()
    return plan


def test_it_adopts_with_the_targets_value(stage: Stage) -> None:
    stage.edit("one", "theirs")
    stage.edit("two", "theirs too")
    stage.keep("two", "ours")
    assert set(stage.items(adopt(stage, "keep_theirs", "one", "two")).values()) == {("adopt", "done")}
    assert (stage.value("one"), stage.value("two")) == ("theirs", "theirs too")
    assert stage.entry("one").ownership == "adopted"
    assert stage.sync().counts == {"unchanged": 2}


def test_it_adopts_and_replaces(stage: Stage) -> None:
    stage.edit("one", "theirs")
    stage.keep("one", "ours")
    stage.world.label(stage.path("one"), "team", "payments")
    adopt(stage, "replace", "one")
    assert stage.theirs("one") == "ours"
    assert stage.world.labels(stage.path("one"))["team"] == "payments"
    assert stage.sync().counts == {"unchanged": 1}


def test_it_adopts_only_if_equal(stage: Stage) -> None:
    for name, value in (("one", "theirs"), ("two", "same")):
        stage.edit(name, value)
    stage.keep("one", "ours")
    stage.keep("two", "same")
    items = stage.items(adopt(stage, "only_if_equal", "one", "two"))
    assert items == {"one": ("refused", "skipped"), "two": ("adopt", "done")}
    assert stage.theirs("one") == "theirs"
    assert stage.world.labels(stage.path("one")) == {}


def test_it_never_deletes_what_was_adopted(stage: Stage) -> None:
    stage.rules(deletion="recoverable", budget_percent=100)
    stage.keep("other", "value")
    stage.edit("one", "same")
    stage.keep("one", "same")
    stage.sync()
    adopt(stage, "only_if_equal", "one")
    stage.drop("one")
    assert stage.items(stage.sync())["one"] == ("refused", "skipped")
    assert stage.theirs("one") == "same"


@pytest.mark.parametrize("mode", ["leave", "withdraw"])
def test_it_takes_leave(stage: Stage, mode: str) -> None:
    stage.edit("adopted", "same")
    stage.edit("foreign", "theirs")
    for name, value in (("adopted", "same"), ("kept", "first"), ("edited", "first")):
        stage.keep(name, value)
    stage.sync()
    adopt(stage, "only_if_equal", "adopted")
    stage.edit("edited", "by hand")
    plan = stage.apply(stage.plan(kind=PlanKind.DISCONNECT, options={"mode": mode}))
    acts = {name: act for name, (act, _) in stage.items(plan).items()}
    withdrawn = "delete" if mode == "withdraw" else "release"
    assert acts == {"adopted": "release", "edited": "release", "kept": withdrawn}
    assert not SyncEntry.objects.filter(target=stage.target).exists()
    assert (stage.theirs("adopted"), stage.theirs("edited")) == ("same", "by hand")
    for name in ("adopted", "edited", "foreign"):
        assert "keeper-target" not in stage.world.labels(stage.path(name))


def test_an_adoption_that_comes_too_late_leaves_no_mark(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.edit("foreign", "theirs")
    stage.keep("foreign", "ours")
    kind: Any = type(stage.world.backend())
    mark = kind.mark

    def mark_then_edit(self: Any, *given: Any) -> None:
        mark(self, *given)
        stage.edit("foreign", "theirs, newer")

    monkeypatch.setattr(kind, "mark", mark_then_edit)
    plan = adopt(stage, "replace", "foreign")
    assert stage.items(plan) == {"foreign": ("adopt", "skipped")}
    assert stage.theirs("foreign") == "theirs, newer"
    assert "keeper-target" not in stage.world.labels(stage.path("foreign"))


def test_a_conflict_waits_for_a_person_who_keeps_ours(stage: Stage) -> None:
    plan = in_conflict(stage)
    assert (stage.theirs("one"), stage.value("one")) == ("theirs", "ours")
    resolved(stage, plan, "keep_ours")
    assert stage.theirs("one") == "ours"
    assert stage.sync().counts == {"unchanged": 1}


def test_a_conflict_waits_for_a_person_who_takes_theirs(stage: Stage) -> None:
    resolved(stage, in_conflict(stage), "take_theirs")
    assert stage.value("one") == "theirs"
    assert stage.sync().counts == {"unchanged": 1}


def test_a_choice_holds_only_for_what_was_seen(stage: Stage) -> None:
    plan = in_conflict(stage)
    stage.edit("one", "edited once more")
    done = resolved(stage, plan, "keep_ours")
    assert stage.items(done) == {"one": ("refused", "skipped")}
    assert stage.theirs("one") == "edited once more"


def test_whoever_carries_on_after_a_death_makes_no_second_version(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies after the target was written to and before that was noted: the worst moment."""
    for name in ("one", "two"):
        stage.keep(name, "first")
    stage.sync()
    for name in ("one", "three"):
        stage.keep(name, "second")
    stage.world_rest()
    run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())

    def die(_batch: Batch) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(Batch, "_save", die)
        with pytest.raises(SystemExit):
            runs_runner.execute(run.pk)
    assert stage.theirs("one") == "second"
    assert set(PlanItem.objects.values_list("state", flat=True).filter(plan__runs=run)) == {"intended"}
    Run.objects.filter(pk=run.pk).update(lease_until=database_now().replace(year=2000))
    done = runs_runner.execute(run.pk)
    assert done is not None
    assert (done.state, done.failed) == ("done", 0)
    assert stage.sync().counts == {"unchanged": 3}
    with stage.world.backend() as backend:
        versions = backend.get_metadata("one").version, backend.get_metadata("three").version
    if isinstance(stage.world, AwsWorld):
        listed = stage.world.client.list_secret_version_ids(
            SecretId=stage.path("one"), IncludeDeprecated=True
        )
        assert len(listed["Versions"]) == 2
    else:
        assert [version_number(version) for version in versions] == [2, 1]


def test_a_pass_in_which_nothing_changed_reads_no_value(cast: Cast, aws: AwsWorld) -> None:
    stage = Stage(cast, aws)
    for number in range(250):
        stage.keep(f"app/{number:03}", "value")
    stage.sync()
    aws.plan.clear()
    assert stage.sync().counts == {"unchanged": 250}
    assert {name: aws.plan.asked[name] for name in aws.plan.asked} == {
        "GetCallerIdentity": 1,
        "ListSecrets": 3,
    }


@pytest.mark.parametrize("how", ["pull", "adopt"])
def test_keeper_takes_only_the_version_that_the_plan_showed(stage: Stage, how: str) -> None:
    """Another client writes after the plan was made: what nobody saw does not come into Keeper."""
    stage.edit("one", "shown")
    if how == "pull":
        stage.rules(direction="pull")
        plan = stage.plan()
    else:
        plan = stage.plan(kind=PlanKind.ADOPT, options={"mode": "keep_theirs", "names": ["one"]})
    assert plan.counts == {how: 1}
    stage.edit("one", "never shown")
    assert stage.items(stage.apply(plan)) == {"one": (how, "skipped")}
    assert not Secret.objects.filter(environment=stage.environment, name="one").exists()
    assert stage.world.labels(stage.path("one")) == {}
