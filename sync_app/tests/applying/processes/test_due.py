"""Passes come although the clock was put back, the sync was paused, or somebody died in between."""

import re
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from environments_app.tests.cast import Cast
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.errors import CredentialsRejected
from sync_app.jobs import leases
from sync_app.jobs import queue as jobs_queue
from sync_app.jobs.leases import database_now
from sync_app.models import Run, Target
from sync_app.models.run import RunState
from sync_app.planning import service as planning
from sync_app.runs import runner as runs_runner
from sync_app.runs import schedule
from sync_app.targets import service as targets
from sync_app.tests.applying.stage import Stage
from sync_app.tests.fixtures import Jump

pytestmark = pytest.mark.every_database


@pytest.fixture
def stage(cast: Cast, aws: AwsWorld) -> Stage:
    stage = Stage(cast, aws, automatic=True)
    stage.keep("app/one", "first")
    return stage


def pass_by() -> None:
    schedule.correct_future_due_times()
    for run_id in schedule.queue_due():
        runs_runner.execute(run_id)


def test_a_pause_of_everything_uses_up_no_attempt(stage: Stage, cast: Cast) -> None:
    run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())
    runs_runner.pause_all(actor=cast.principal(cast.root))
    for _ in range(runs_runner.MAX_ATTEMPTS + 1):
        assert schedule.queue_due() == [run.pk]
        runs_runner.execute(run.pk)
        Run.objects.update(not_before=database_now())
    runs_runner.resume_all(actor=cast.principal(cast.root))
    pass_by()
    assert (Run.objects.get(pk=run.pk).state, stage.theirs("app/one")) == (RunState.DONE, "first")


@pytest.mark.parametrize("interval", [0, 300])
def test_what_changed_during_a_pause_follows_when_it_ends(stage: Stage, interval: int) -> None:
    stage.rules(interval_seconds=interval)
    pass_by()
    stage.world_rest()
    targets.pause(actor=stage.alice, target=stage.fresh())
    stage.keep("app/one", "second")
    pass_by()
    assert stage.theirs("app/one") == "first"
    targets.resume(actor=stage.alice, target=stage.fresh())
    pass_by()
    assert stage.theirs("app/one") == "second"


def test_a_target_whose_credentials_ended_is_asked_again_with_a_growing_wait(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, now = [], database_now()

    def refused(_run: Run, **_: Any) -> None:
        asked.append(now)
        raise CredentialsRejected("it has expired")

    monkeypatch.setattr(planning, "make_plan", refused)
    monkeypatch.setattr(schedule, "database_now", lambda: now)
    monkeypatch.setattr(runs_runner, "database_now", lambda: now)
    began = now
    while now - began < timedelta(minutes=20):
        # Each change of a secret asks for a pass.
        schedule.schedule_environment(stage.environment.pk, ["app/a"])
        pass_by()
        now += timedelta(seconds=10)
    waits = [round((later - earlier).total_seconds()) for earlier, later in pairwise(asked)]
    assert waits == [30, 60, 120, 240, 480]


def test_new_credentials_are_tried_at_once(stage: Stage, cast: Cast) -> None:
    Target.objects.update(failures=7, last_failure_at=database_now(), due_at=database_now())
    assert schedule.queue_due() == []
    target = stage.fresh()
    targets.change_credentials(actor=stage.alice, target=target, credentials=stage.world.credentials)
    schedule.schedule_environment(stage.environment.pk, ["app/a"])
    assert schedule.queue_due() == [Run.objects.get().pk]


def test_what_a_person_waits_for_goes_before_what_the_clock_asked_for(
    stage: Stage, cast: Cast, aws: AwsWorld
) -> None:
    stage.rules(interval_seconds=300, due_at=database_now())
    (first,) = schedule.queue_due()
    asked = []
    for place in ("second", "third"):
        aws.destination = aws.destination | {"prefix": place}
        asked.append(Stage(cast, aws))
    runs = [runs_runner.request_sync(actor=each.alice, target=each.fresh()).pk for each in asked]
    assert schedule.queue_due() == [*runs, first]
    # One whose target failed last still waits for those that answer.
    asked[0].rules(failures=1)
    assert schedule.queue_due() == [runs[1], first, runs[0]]


def test_a_deadlock_does_not_end_the_search_for_what_is_due(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.rules(interval_seconds=300, due_at=database_now())
    refused = iter([1213, 1205])

    def collides(**asked: Any) -> Run:
        if code := next(refused, 0):
            raise OperationalError(code, "Deadlock found when trying to get lock")
        return jobs_queue.enqueue(**asked)

    monkeypatch.setattr("sync_app.runs.schedule.enqueue", collides)
    assert schedule.queue_due() == [Run.objects.get().pk]


@pytest.mark.parametrize("interval", [0, 300])
def test_a_pass_that_could_not_be_queued_stays_due(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, interval: int
) -> None:
    stage.rules(interval_seconds=interval, due_at=database_now())

    def broken(**_asked: object) -> None:
        raise OperationalError("Lock wait timeout exceeded")

    with monkeypatch.context() as patched:
        patched.setattr(schedule, "enqueue", broken)
        with pytest.raises(OperationalError):
            schedule.queue_due()
    pass_by()
    assert stage.theirs("app/one") == "first"


def test_a_clock_that_was_put_back_holds_up_neither_passes_nor_runs(stage: Stage, jump: Jump) -> None:
    jump(365)
    pass_by()
    stage.rules(due_at=None)
    (died,) = schedule.queue_due()
    assert leases.claim(died, owner="dead")
    jump(0)
    stage.keep("app/one", "second")
    pass_by()
    assert (Run.objects.get(pk=died).state, stage.theirs("app/one")) == (RunState.DONE, "second")
    due_at = stage.fresh().due_at
    assert due_at
    assert due_at <= database_now() + timedelta(seconds=stage.target.interval_seconds)


def test_a_run_that_waits_for_a_time_before_the_clock_was_put_back_goes_on(stage: Stage, jump: Jump) -> None:
    run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())
    Run.objects.update(not_before=database_now() + timedelta(days=1))
    assert schedule.queue_due() == [run.pk]
    Run.objects.update(not_before=database_now() + timedelta(minutes=9))
    assert schedule.queue_due() == []
    jump(1)
    assert schedule.queue_due() == [run.pk]


def test_a_lease_is_extended_by_the_condition_of_every_other_write(stage: Stage) -> None:
    run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())
    lease = leases.claim(run.pk, owner="a worker")
    assert lease
    with CaptureQueriesContext(connection) as captured:
        lease.renew()
        lease.renew(attempts=1)
    statements = [each["sql"] for each in captured if "UPDATE" in each["sql"]]
    extended, written = (
        sorted(re.findall(r"(\w+)\W? ?= ?", sql.partition("WHERE")[2])) for sql in statements
    )
    assert extended == written == ["epoch", "id", "lease_owner", "state"]
