"""What fails is never taken for gone, never taken for done, and never spoils the rest."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit_app.tests.trail import take_away
from environments_app.tests.cast import Cast
from secrets_app.models import Secret, SecretVersion
from sync_app.applying import service as applying
from sync_app.applying.batch import Batch
from sync_app.applying.outcomes import MAX_ATTEMPTS
from sync_app.applying.preconditions import ItemContext
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.base import Backend
from sync_app.backends.observations import SecretMetadata
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.errors import TargetBusy
from sync_app.jobs import queue as jobs_queue
from sync_app.jobs.leases import LEASE, claim, database_now
from sync_app.jobs.worker_pool import CONCURRENCY, WorkerPool
from sync_app.models import PlanItem, Run, SyncEntry
from sync_app.runs import runner as runs_runner
from sync_app.runs import schedule
from sync_app.targets.destinations import backend_class
from sync_app.tests.applying.stage import Stage
from tests.aws_strict.faults import Fault

pytestmark = pytest.mark.every_database_weekly

DELETING: dict[str, Any] = {"deletion": "recoverable", "budget_number": 100, "budget_percent": 100}


@pytest.fixture
def deleting(cast: Cast, aws: AwsWorld) -> Stage:
    """A target with three secrets, of which one was deleted in Keeper."""
    stage = Stage(cast, aws, **DELETING)
    for name in ("gone", "kept", "other"):
        stage.keep(name, name)
    stage.sync()
    stage.drop("gone")
    aws.plan.clear()
    return stage


def run_of(stage: Stage) -> Run:
    run = runs_runner.execute(runs_runner.request_sync(actor=stage.alice, target=stage.fresh()).pk)
    assert run is not None
    return run


@pytest.mark.parametrize("fault", [Fault.ACCESS_DENIED, Fault.DROPPED_REPLY, Fault.SERVER_ERROR], ids=str)
def test_a_list_that_fails_deletes_nothing(deleting: Stage, aws: AwsWorld, fault: Fault) -> None:
    aws.plan.fail("ListSecrets", fault, times=10)
    run = run_of(deleting)
    assert run.state == ("failed" if fault is Fault.ACCESS_DENIED else "queued")
    assert run.error
    assert deleting.theirs("gone") == "gone"
    assert deleting.fresh().last_error == run.error


def test_a_read_that_fails_deletes_nothing(deleting: Stage, aws: AwsWorld) -> None:
    # What was edited there has to be read; that it cannot be is no reason to think it gone.
    deleting.edit("other", "edited")
    aws.plan.fail("DescribeSecret", Fault.ACCESS_DENIED)
    plan = deleting.sync()
    assert deleting.items(plan)["gone"] == ("refused", "skipped")
    assert deleting.items(plan)["other"] == ("refused", "skipped")
    assert deleting.theirs("gone") == "gone"


def test_a_value_that_does_not_open_deletes_nothing(deleting: Stage, sql: Callable[..., None]) -> None:
    deleting.keep("kept", "second")
    version = SecretVersion.objects.get(secret__name="kept", number=2)
    sql("UPDATE secrets_app_secretversion SET value = %s WHERE id = %s", b"x" * 200, version.pk)
    deleting.world_rest()
    plan = deleting.sync()
    assert deleting.items(plan) == {"gone": ("delete", "skipped"), "kept": ("update", "failed")}
    assert deleting.theirs("gone") == "gone"
    assert deleting.theirs("kept") == "kept"


def test_a_row_that_keeper_did_not_write_deletes_nothing(deleting: Stage, sql: Callable[..., None]) -> None:
    sql("UPDATE secrets_app_secret SET secret_type = 'JSON' WHERE name = 'kept'")
    plan = deleting.sync()
    assert deleting.items(plan) == {"gone": ("refused", "skipped"), "kept": ("refused", "skipped")}
    assert deleting.theirs("gone") == "gone"


def test_an_empty_environment_deletes_nothing(deleting: Stage) -> None:
    Secret.objects.filter(live=True).update(live=None, deleted_at=timezone.now())
    plan = deleting.sync()
    assert set(deleting.items(plan).values()) == {("refused", "skipped")}
    assert deleting.theirs("kept") == "kept"


def test_no_more_is_deleted_than_the_budget_allows(deleting: Stage) -> None:
    deleting.drop("other")
    deleting.rules(budget_number=1)
    plan = deleting.sync()
    assert plan.counts == {"refused": 2, "unchanged": 1}
    assert deleting.theirs("gone") == "gone"


@pytest.mark.parametrize("operation", ["CreateSecret", "PutSecretValue", "UpdateSecretVersionStage"])
def test_a_write_whose_answer_is_lost_is_found_done(cast: Cast, aws: AwsWorld, operation: str) -> None:
    stage = Stage(cast, aws)
    stage.keep("one", "first")
    if operation != "CreateSecret":
        stage.sync()
        stage.keep("one", "second")
        stage.world_rest()
    aws.plan.fail(operation, Fault.DROPPED_REPLY)
    stage.sync()
    assert stage.theirs("one") == ("first" if operation == "CreateSecret" else "second")
    versions = aws.client.list_secret_version_ids(SecretId=stage.path("one"), IncludeDeprecated=True)
    assert len(versions["Versions"]) == (1 if operation == "CreateSecret" else 2)
    assert stage.entry("one").state == "in_sync"


@pytest.mark.parametrize("changed", [True, False])
def test_a_deletion_that_nobody_looked_after_is_looked_at_by_the_next_attempt(
    cast: Cast, aws: AwsWorld, changed: bool
) -> None:
    stage = Stage(cast, aws, deletion="recoverable", budget_percent=100)
    for name in ("one", "other"):
        stage.keep(name, "first")
    stage.sync()
    stage.drop("one")

    def before_deletion() -> None:
        if changed:
            stage.edit("one", "theirs")
        aws.plan.keep_failing("DescribeSecret", Fault.SERVER_ERROR)

    aws.plan.before("DeleteSecret", before_deletion)
    run = run_of(stage)
    assert run.state == "queued"
    aws.plan.recover()
    Run.objects.filter(pk=run.pk).update(not_before=None)
    done = runs_runner.execute(run.pk)
    assert done is not None
    assert done.plan is not None
    assert (done.state, stage.items(done.plan)["one"]) == (
        "failed" if changed else "done",
        ("delete", "skipped" if changed else "done"),
    )
    with aws.backend() as backend:
        assert backend.get_metadata("one").presence == ("present" if changed else "deleted")


def test_a_version_that_was_destroyed_is_written_over(cast: Cast, vault: VaultWorld) -> None:
    stage = Stage(cast, vault, conflict="keeper_wins")
    stage.keep("one", "first")
    stage.sync()
    vault.kv.destroy_secret_versions(stage.path("one"), versions=[1], mount_point="secret")
    plan = stage.sync(rest=True)
    assert stage.items(plan) == {"one": ("update", "done")}
    assert stage.theirs("one") == "first"
    assert stage.sync().counts == {"unchanged": 1}


@pytest.mark.parametrize("operation", ["CreateSecret", "UpdateSecretVersionStage"])
def test_a_write_that_never_gets_an_answer_is_said_to_have_failed(
    cast: Cast, aws: AwsWorld, operation: str
) -> None:
    stage = Stage(cast, aws)
    stage.keep("other", "value")
    stage.sync()
    stage.keep("one", "first")
    if operation != "CreateSecret":
        stage.sync()
        stage.keep("one", "second")
        stage.world_rest()
    aws.plan.fail(operation, Fault.SERVER_ERROR, times=500)
    run = run_of(stage)
    while run.state == "queued":
        assert stage.entry("one").state == "pending"
        Run.objects.filter(pk=run.pk).update(not_before=None)
        run = runs_runner.execute(run.pk) or run
    assert (run.state, run.failed) == ("failed", 1)
    (item,) = PlanItem.objects.filter(plan=run.plan, name="one")
    assert (item.state, item.permanent) == ("failed", False)
    assert "try again later" in item.error
    assert stage.entry("one").state == "failed"
    aws.plan.clear()
    stage.sync()
    assert stage.theirs("one") == ("first" if operation == "CreateSecret" else "second")
    assert stage.entry("one").state == "in_sync"


def test_requests_to_slow_down_use_up_no_attempt(
    cast: Cast, aws: AwsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(cast, aws)
    stage.keep("one", "first")
    kind = backend_class(stage.fresh().backend)
    create = kind.create
    answers = [TargetBusy("slow down", retry_after=1.0)] * MAX_ATTEMPTS + [TargetBusy("a fault")]

    def answered(backend: Backend, *given: Any, **named: Any) -> Any:
        if answers:
            raise answers.pop(0)
        return create(backend, *given, **named)

    monkeypatch.setattr(kind, "create", answered)
    run = run_of(stage)
    while run.state == "queued":
        Run.objects.filter(pk=run.pk).update(not_before=None)
        run = runs_runner.execute(run.pk) or run
    assert not answers
    assert (run.state, stage.theirs("one")) == ("done", "first")


def test_one_item_that_fails_leaves_the_others_alone(cast: Cast, aws: AwsWorld) -> None:
    stage = Stage(cast, aws)
    for number in range(20):
        stage.keep(f"app/{number:02}", "value")
    aws.plan.fail("CreateSecret", Fault.ACCESS_DENIED)
    plan = stage.sync()
    states = sorted(state for _, state in stage.items(plan).values())
    assert states == ["done"] * 19 + ["failed"]
    (failed,) = PlanItem.objects.filter(plan=plan, state="failed")
    assert failed.permanent
    assert "secretsmanager:CreateSecret" in failed.error


def test_credentials_that_are_refused_stop_the_run_with_an_instruction(cast: Cast, aws: AwsWorld) -> None:
    stage = Stage(cast, aws)
    for number in range(30):
        stage.keep(f"app/{number:02}", "value")
    plan = stage.plan()
    aws.plan.clear()
    aws.plan.fail("CreateSecret", Fault.EXPIRED, times=500)
    run = runs_runner.execute(applying.request_apply(actor=stage.alice, plan=plan).pk)
    assert run is not None
    assert run.state == "failed"
    assert "renew them" in run.error
    # One for each thread, and no more: whoever goes on asking with bad credentials is locked out.
    assert aws.plan.calls["CreateSecret"] <= CONCURRENCY


def test_a_run_is_claimed_by_one_and_carried_on_by_another(stage: Stage) -> None:
    stage.keep("one", "first")
    run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())
    lease = claim(run.pk, owner="a worker that was killed")
    assert lease is not None
    assert claim(run.pk, owner="another") is None
    assert runs_runner.execute(run.pk) is None
    Run.objects.filter(pk=run.pk).update(lease_until=database_now() - timedelta(seconds=1))
    done = runs_runner.execute(run.pk)
    assert done is not None
    assert (done.state, done.epoch) == ("done", 2)
    with pytest.raises(Exception, match="another worker"):
        lease.renew()


def test_a_message_that_comes_twice_does_nothing_the_second_time(stage: Stage) -> None:
    stage.keep("one", "first")
    run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())
    assert runs_runner.execute(run.pk) is not None
    assert runs_runner.execute(run.pk) is None


def test_two_schedules_start_one_run(stage: Stage) -> None:
    stage.rules(automatic=True, due_at=database_now())
    assert len(schedule.queue_due()) == 1
    assert len(schedule.queue_due()) == 1
    assert Run.objects.count() == 1


def test_a_paused_target_does_nothing_until_it_is_resumed(stage: Stage) -> None:
    stage.keep("one", "first")
    run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())
    root = stage.cast.principal(stage.cast.root)
    runs_runner.pause_all(actor=root)
    waiting = runs_runner.execute(run.pk)
    assert waiting is not None
    assert (waiting.state, waiting.error) == ("queued", "paused")
    with pytest.raises(Exception, match="paused"):
        jobs_queue.require_not_paused(stage.target)
    runs_runner.resume_all(actor=root)
    Run.objects.filter(pk=run.pk).update(not_before=None)
    assert runs_runner.execute(run.pk) is not None
    assert stage.theirs("one") == "first"


def test_who_lost_the_right_does_nothing_any_more(stage: Stage) -> None:
    from environments_app.models import Membership

    stage.keep("one", "first")
    run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())
    take_away(Membership.objects.filter(user=stage.cast.alice))
    done = runs_runner.execute(run.pk)
    assert done is not None
    assert (done.state, done.error) == ("failed", "the user who started this run no longer has permission")


def test_a_run_that_keeper_did_not_write_does_nothing(stage: Stage, sql: Callable[..., None]) -> None:
    stage.keep("one", "first")
    run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())
    sql("UPDATE sync_app_run SET actor_uuid = %s", stage.cast.erin.uuid.hex)
    done = runs_runner.execute(run.pk)
    assert done is not None
    assert done.state == "failed"
    assert not SyncEntry.objects.exists()


def test_aws_gets_one_version_of_a_secret_in_ten_minutes(cast: Cast, aws: AwsWorld) -> None:
    stage = Stage(cast, aws, automatic=True)
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    plan = stage.sync()
    assert stage.items(plan) == {"one": ("update", "skipped")}
    entry = stage.entry("one")
    assert (entry.state, "one new version in 10 minutes" in entry.reason) == ("pending", True)
    assert stage.theirs("one") == "first"
    assert stage.fresh().due_at is not None
    stage.sync(rest=True)
    assert stage.theirs("one") == "second"


def test_who_lost_the_run_begins_no_more_writes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds out when it makes the next batch ready, while most of the one before is not begun."""
    monkeypatch.setattr(applying, "BATCH", 3 * CONCURRENCY)
    for number in range(4 * CONCURRENCY):
        stage.keep(f"app/{number:02}", "value")
    run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())
    kind = type(stage.world.backend())
    create, intend, gather, left = kind.create, Batch._commit_intents, Batch.collect, WorkerPool.__exit__
    go, begun, intended = threading.Event(), [], []

    def slow(self: Backend, name: str, value: str, **options: Any) -> SecretMetadata:
        begun.append(name)
        go.wait(120)
        return create(self, name, value, **options)

    def overtaken(self: Batch, ready: list[ItemContext]) -> None:
        intended.append(len(ready))
        if len(intended) == 2:
            Run.objects.filter(pk=run.pk).update(epoch=99)
        intend(self, ready)

    def waiting(self: Batch) -> Any:
        go.set()
        return gather(self)

    def leave(self: WorkerPool, *error: Any) -> None:
        # What waits is not begun; only then what is under way may end.
        self._pool.shutdown(wait=False, cancel_futures=True)
        go.set()
        left(self, *error)

    monkeypatch.setattr(Batch, "collect", waiting)
    monkeypatch.setattr(WorkerPool, "__exit__", leave)
    monkeypatch.setattr(kind, "create", slow)
    monkeypatch.setattr(Batch, "_commit_intents", overtaken)
    runs_runner.execute(run.pk)
    assert intended == [3 * CONCURRENCY, CONCURRENCY]
    assert len(begun) <= CONCURRENCY


def test_who_slept_longer_than_the_lease_writes_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its threads wake before it asks the database whether it still holds the run."""
    stage.keep("one", "first")
    run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())
    start = Batch.dispatch

    def asleep(self: Batch) -> None:
        assert self._tools.lease is not None
        Run.objects.filter(pk=run.pk).update(epoch=99)
        self._tools.lease._renewed -= LEASE.total_seconds() + 1
        start(self)

    monkeypatch.setattr(Batch, "dispatch", asleep)
    runs_runner.execute(run.pk)
    assert stage.world.labels_or_none(stage.path("one")) is None
