"""Many changed secrets: looked at together, prepared while others are under way, and each for itself."""

from collections.abc import Callable, Collection
from typing import Any

import pytest

from audit_app.tests.trail import take_away
from environments_app.models import Membership
from environments_app.tests.cast import Cast
from secrets_app.errors import KeyUnavailable
from sync_app.applying import item_actions
from sync_app.applying import service as applying
from sync_app.applying.batch import Batch
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.observations import MARK_KEYS, SecretMetadata
from sync_app.models import Plan, PlanItem, Run
from sync_app.planning import service as planning
from sync_app.runs import runner as runs_runner
from sync_app.targets import service as targets
from sync_app.tests.applying.stage import Stage
from tests.aws_strict.faults import Fault

pytestmark = pytest.mark.every_database_weekly

NUMBER = 11
NAMES = [f"app/{number:02}" for number in range(NUMBER)]
STRANGE_MARK = "11111111-1111-4111-8111-111111111111"
Glance = Callable[[Any, Collection[str]], dict[str, SecretMetadata]]


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync_app.applying.service.BATCH", 5)


def planned(stage: Stage) -> Plan:
    """Sync many, change all of them in Keeper, and plan."""
    for name in NAMES:
        stage.keep(name, "first")
    stage.sync()
    for name in NAMES:
        stage.keep(name, "second")
    stage.world_rest()
    plan = stage.plan()
    assert plan.counts == {"update": NUMBER}
    return plan


def applied(stage: Stage, plan: Plan) -> Run:
    run = runs_runner.execute(applying.request_apply(actor=stage.alice, plan=plan).pk)
    assert run is not None
    return run


def glancing(stage: Stage, monkeypatch: pytest.MonkeyPatch, glance: Callable[[Glance], Glance]) -> None:
    """Put another look at many in place of the backend's."""
    kind = type(stage.world.backend())
    monkeypatch.setattr(kind, "batch_get_metadata", glance(kind.batch_get_metadata))


def move_to_another(aws: AwsWorld, path: str) -> None:
    """Make another version current by hand: after a move, moto's put leaves two of them."""
    stages = aws.client.describe_secret(SecretId=path)["VersionIdsToStages"]
    (current,) = (version for version, labels in stages.items() if "AWSCURRENT" in labels)
    put = aws.client.put_secret_value(SecretId=path, SecretString="theirs", VersionStages=["THEIRS"])
    aws.client.update_secret_version_stage(
        SecretId=path,
        VersionStage="AWSCURRENT",
        MoveToVersionId=put["VersionId"],
        RemoveFromVersionId=current,
    )


def test_each_is_written_and_its_outcome_stored(stage: Stage) -> None:
    run = applied(stage, planned(stage))
    assert (run.state, run.total, run.finished, run.failed) == ("done", NUMBER, NUMBER, 0)
    assert {stage.theirs(name) for name in NAMES} == {"second"}
    assert {stage.entry(name).state for name in NAMES} == {"in_sync"}
    assert stage.sync().counts == {"unchanged": NUMBER}


def test_what_was_taken_over_or_edited_since_is_left_alone(stage: Stage) -> None:
    plan = planned(stage)
    for key in MARK_KEYS:
        stage.world.label(stage.path("app/03"), key, STRANGE_MARK)
    stage.edit("app/07", "theirs")
    stage.world.remove(stage.path("app/09"))
    stage.apply(plan)
    skipped = {name for name, (_, state) in stage.items(plan).items() if state == "skipped"}
    assert skipped == {"app/03", "app/07", "app/09"}
    assert stage.theirs("app/03") == "first"
    assert stage.theirs("app/07") == "theirs"
    assert stage.theirs("app/10") == "second"


def test_a_look_at_many_that_lags_changes_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's lists may be minutes old: what they show is never taken for the present where it differs."""
    plan = planned(stage)
    old = {seen.name: seen for seen in stage.world.backend().list_secrets()}
    glancing(stage, monkeypatch, lambda _: lambda _self, names: {name: old[name] for name in names})
    stage.edit("app/07", "theirs")
    run = applied(stage, plan)
    assert (run.state, run.failed) == ("done", 0)
    assert stage.items(plan)["app/07"] == ("update", "skipped")
    assert stage.theirs("app/07") == "theirs"
    assert {stage.theirs(name) for name in NAMES} == {"second", "theirs"}
    assert stage.entry("app/06").state == "in_sync"


def became(stage: Stage, age: str) -> str:
    """Return what becomes of an item whose mark was taken away: where Keeper wrote first, it says so."""
    if age == "too old":
        return "skipped"
    return "failed" if stage.world.kind == "vault_kv2" else "done"


@pytest.mark.parametrize(("age", "seconds"), [("fresh", 3600.0), ("too old", -1.0)])
def test_a_pass_takes_its_own_look_for_proof_only_while_it_is_fresh(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, age: str, seconds: float
) -> None:
    """Planned and carried out in one go: what was seen to decide proves the marks, for so long."""
    planned(stage)
    monkeypatch.setattr(item_actions, "FRESH_SECONDS", seconds)
    finish = planning._finish_plan

    def take_over_after(*given: Any) -> None:
        finish(*given)
        for key in MARK_KEYS:
            stage.world.label(stage.path("app/03"), key, STRANGE_MARK)

    monkeypatch.setattr(planning, "_finish_plan", take_over_after)
    plan = stage.sync()
    # Vault's answer shows the mark: what was there is put back.
    is_kept = age == "too old" or stage.world.kind == "vault_kv2"
    assert stage.theirs("app/03") == ("first" if is_kept else "second")
    assert stage.items(plan)["app/03"] == ("update", became(stage, age))
    assert stage.theirs("app/04") == "second"


@pytest.mark.parametrize("age", ["fresh", "too old"])
def test_what_was_seen_long_ago_is_looked_at_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, age: str
) -> None:
    """Only a fresh look counts: after it, a mark that is taken away goes unnoticed (in AWS)."""
    plan = planned(stage)
    if age == "too old":
        monkeypatch.setattr(item_actions, "FRESH_SECONDS", -1.0)

    def take_over_after(glance: Glance) -> Glance:
        def glanced(backend: Any, names: Collection[str]) -> dict[str, SecretMetadata]:
            found = glance(backend, names)
            if "app/03" in names:
                for key in MARK_KEYS:
                    stage.world.label(stage.path("app/03"), key, STRANGE_MARK)
            return found

        return glanced

    glancing(stage, monkeypatch, take_over_after)
    applied(stage, plan)
    # Vault's answer shows the mark: what was there is put back.
    is_kept = age == "too old" or stage.world.kind == "vault_kv2"
    assert stage.theirs("app/03") == ("first" if is_kept else "second")
    assert stage.items(plan)["app/03"] == ("update", became(stage, age))


def test_what_is_not_there_afterwards_is_not_called_done(
    cast: Cast, aws: AwsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(cast, aws)
    plan = planned(stage)
    looks: list[int] = []

    def moving_before_the_second(glance: Glance) -> Glance:
        def glanced(backend: Any, names: Collection[str]) -> dict[str, SecretMetadata]:
            if "app/00" in names:
                looks.append(1)
                if len(looks) == 2:
                    move_to_another(aws, stage.path("app/00"))
            return glance(backend, names)

        return glanced

    glancing(stage, monkeypatch, moving_before_the_second)
    applied(stage, plan)
    assert stage.items(plan)["app/00"] == ("update", "skipped")
    assert stage.theirs("app/00") == "theirs"
    assert stage.items(plan)["app/01"] == ("update", "done")


@pytest.mark.parametrize("operation", ["PutSecretValue", "UpdateSecretVersionStage", "ListSecrets"])
def test_lost_answers_are_found_out(cast: Cast, aws: AwsWorld, operation: str) -> None:
    stage = Stage(cast, aws)
    plan = planned(stage)
    aws.plan.fail(operation, Fault.DROPPED_REPLY, times=9)
    run = applied(stage, plan)
    while run.state == "queued":
        Run.objects.filter(pk=run.pk).update(not_before=None)
        run = runs_runner.execute(run.pk) or run
    assert (run.state, run.failed) == ("done", 0)
    assert {stage.theirs(name) for name in NAMES} == {"second"}
    for name in NAMES:
        versions = aws.client.list_secret_version_ids(SecretId=stage.path(name), IncludeDeprecated=True)
        assert len(versions["Versions"]) == 2


def test_what_settled_is_stored_though_the_run_stops(cast: Cast, aws: AwsWorld) -> None:
    stage = Stage(cast, aws)
    plan = planned(stage)
    aws.plan.before("PutSecretValue", lambda: aws.plan.fail("PutSecretValue", Fault.EXPIRED))
    run = applied(stage, plan)
    assert (run.state, "renew them" in run.error) == ("failed", True)
    states = [state for _, state in stage.items(plan).values()]
    done = {name for name in NAMES if stage.theirs(name) == "second"}
    assert states.count("done") == len(done) > 0
    # The rest of the first batch, and the second, which was ready; nobody began the third.
    assert states.count("intended") == 10 - len(done)
    assert states.count("planned") == 1
    aws.plan.clear()
    stage.sync()
    assert {stage.theirs(name) for name in NAMES} == {"second"}


def test_what_was_under_way_is_stored_though_the_next_cannot_be_prepared(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(stage)
    prepare, left = Batch.prepare, [None, KeyUnavailable("no key for now", permanent=False)]

    def failing(self: Batch) -> None:
        trouble = left.pop(0) if left else None
        if trouble:
            raise trouble
        prepare(self)

    monkeypatch.setattr(Batch, "prepare", failing)
    run = applied(stage, plan)
    assert (run.state, run.finished) == ("queued", 5)
    assert PlanItem.objects.filter(plan=plan, state="done").count() == 5
    Run.objects.filter(pk=run.pk).update(not_before=None)
    again = runs_runner.execute(run.pk)
    assert again is not None
    assert (again.state, again.finished) == ("done", NUMBER)


def test_who_loses_the_right_under_way_writes_no_further_batch(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(stage)
    start = Batch.dispatch

    def start_and_lose(batch: Batch) -> None:
        start(batch)
        take_away(Membership.objects.filter(user=stage.cast.alice))

    monkeypatch.setattr(Batch, "dispatch", start_and_lose)
    run = applied(stage, plan)
    assert run.state == "failed"
    # What was under way has happened, and is known to have.
    assert sum(stage.theirs(name) == "second" for name in NAMES) == 5
    assert PlanItem.objects.filter(plan=plan, state="done").count() == 5


def test_a_target_that_is_paused_under_way_gets_no_further_batch(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(stage)
    start = Batch.dispatch

    def start_and_pause(batch: Batch) -> None:
        start(batch)
        targets.pause(actor=stage.alice, target=stage.fresh())

    monkeypatch.setattr(Batch, "dispatch", start_and_pause)
    run = applied(stage, plan)
    assert (run.state, run.error) == ("queued", "paused")
    assert sum(stage.theirs(name) == "second" for name in NAMES) == 5
    monkeypatch.setattr(Batch, "dispatch", start)
    targets.resume(actor=stage.alice, target=stage.fresh())
    Run.objects.filter(pk=run.pk).update(not_before=None)
    again = runs_runner.execute(run.pk)
    assert again is not None
    assert (again.state, again.finished) == ("done", NUMBER)
