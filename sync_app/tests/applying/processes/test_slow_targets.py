"""A target that does not answer holds one thread for a bounded time, and never a second one."""

from contextlib import ExitStack
from datetime import timedelta

import pytest
from pytest_django import Settings

from core import workers
from sync_app import tasks
from sync_app.backends.vault.backend import VaultKv2
from sync_app.errors import TargetUnreachable
from sync_app.jobs.leases import Lease, database_now
from sync_app.models import Run
from sync_app.models.run import RunState
from sync_app.rotation.execution import runner as execution_runner
from sync_app.runs import runner as runs_runner
from sync_app.tests.applying.stage import Stage
from sync_app.tests.fixtures import Jump
from tests import hostile


@pytest.fixture
def run(stage: Stage) -> Run:
    stage.keep("app/one", "first")
    return runs_runner.request_sync(actor=stage.alice, target=stage.fresh())


@pytest.fixture
def ten_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_concurrency", 10)


def test_no_thread_claims_a_run_that_another_of_its_process_still_has(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed: list[Run | None] = []

    def work(held: Run, _lease: Lease) -> str:
        Run.objects.filter(pk=held.pk).update(lease_until=database_now() - timedelta(seconds=1))
        claimed.append(runs_runner.execute(held.pk))
        return ""

    monkeypatch.setattr(runs_runner, "_run_kind", work)
    done = runs_runner.execute(run.pk)
    assert claimed == [None]
    assert done is not None
    assert (done.state, done.epoch) == (RunState.DONE, 1)


def test_a_worker_whose_lease_ran_out_asks_the_target_nothing_more(
    run: Run, jump: Jump, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    with hostile.serving(hostile.silence) as server:

        def work(_run: Run, lease: Lease) -> str:
            lease._renewed -= 61
            place = {"address": f"http://127.0.0.1:{server.port}"}
            with VaultKv2(destination=place, credentials={"token": "t"}) as backend:
                backend.check_connection()
            return ""

        monkeypatch.setattr(runs_runner, "_run_kind", work)
        left = runs_runner.execute(run.pk)
        assert server.connections == 0
    assert left is not None
    assert left.state == RunState.RUNNING


def test_a_run_ends_as_failed_when_its_time_is_over(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEEPER_SYNC_RUN_SECONDS = 1

    def work(_run: Run, _lease: Lease) -> str:
        raise TargetUnreachable("no answer")

    monkeypatch.setattr(runs_runner, "_run_kind", work)
    left = runs_runner.execute(run.pk)
    assert left is not None
    assert (left.state, left.error) == (RunState.FAILED, "no answer")


def test_a_run_whose_time_is_over_is_not_gone_on_with(run: Run, settings: Settings) -> None:
    settings.KEEPER_SYNC_RUN_SECONDS = 60
    Run.objects.update(started_at=database_now() - timedelta(seconds=61))
    left = runs_runner.execute(run.pk)
    assert left is not None
    assert left.state == RunState.FAILED
    assert left.error == "the run did not end within 0.0167 hours: the next one goes on from there"


@pytest.mark.usefixtures("ten_threads")
def test_targets_take_half_of_the_long_slots_and_those_that_fail_a_quarter(
    run: Run, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried_out: list[int] = []
    monkeypatch.setattr(runs_runner, "execute", carried_out.append)
    with (
        workers.slot("sync", share=1 / 2) as one,
        workers.part("sync-failing", share=1 / 4) as failing,
    ):
        assert (one, failing) == (True, True)
        stage.rules(failures=1)
        tasks.execute_run(run.pk)
        assert carried_out == []
        stage.rules(failures=0)
        tasks.execute_run(run.pk)
        assert carried_out == [run.pk]
        with workers.slot("sync", share=1 / 2) as two:
            assert two
            tasks.execute_run(run.pk)
    assert carried_out == [run.pk]
    tasks.execute_run(run.pk)
    assert carried_out == [run.pk, run.pk]


@pytest.mark.usefixtures("ten_threads")
def test_rotations_have_a_slot_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    carried_on: list[int] = []
    monkeypatch.setattr(execution_runner, "execute", carried_on.append)
    with workers.slot("sync", share=1 / 2), workers.slot("sync", share=1 / 2):
        tasks.execute_rotation(7)
        with workers.slot("rotation", share=1 / 4):
            tasks.execute_rotation(8)
    assert carried_on == [7]


@pytest.mark.usefixtures("ten_threads")
def test_all_that_waits_together_takes_half_of_a_worker() -> None:
    kinds = ["sync", "sync", "rotation", "event-sinks", "mail", "systems", "backup"]
    with ExitStack() as held:
        took = [held.enter_context(workers.slot(kind, share=1 / 2)) for kind in kinds]
        assert took == [True] * 5 + [False] * 2
        # What Keeper stands on does not wait for them, nor for one another.
        own = ["checkpoint", "keys", "key-states", "notifications"]
        assert all(held.enter_context(workers.part(kind)) for kind in own)
        assert not held.enter_context(workers.part("checkpoint"))
    with workers.slot("mail") as is_free:
        assert is_free
