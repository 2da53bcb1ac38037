"""A run or rotation that lost a transaction goes on at once, and not after its lease."""

from typing import Any

import pytest
from django.db import OperationalError

from core.db import concurrency
from environments_app.tests.cast import Cast
from sync_app.domain.rotation_state import Step
from sync_app.jobs import leases
from sync_app.models import Rotation, Run
from sync_app.models.run import RunState
from sync_app.rotation.execution import runner as rotations
from sync_app.rotation.execution import steps
from sync_app.rotators.generated.tests.world import GeneratedWorld
from sync_app.runs import runner as runs
from sync_app.tests.rotation.making import asked, made_policy
from sync_app.tests.shown import make_run, make_target

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]
OVERTAKEN, LOST, NO_COLUMN = 1213, 2013, 1054


@pytest.fixture(autouse=True)
def _as_on_mariadb(monkeypatch: pytest.MonkeyPatch) -> None:
    # SQLite's errors have no numbers of MariaDB; what a worker does then is the same.
    monkeypatch.setattr(
        leases,
        "is_collision",
        lambda error: error.args[:1] == (OVERTAKEN,) or concurrency.is_collision(error),
    )
    monkeypatch.setattr(leases, "_RESUME_SECONDS", 0.0)


def failing(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, codes: list[int]) -> list[int]:
    """Let a function meet errors of the database first; return those that are left."""
    act = getattr(module, name)

    def fails_first(*given: Any, **more: Any) -> Any:
        if codes:
            raise OperationalError(codes.pop(0), "a fault of the test")
        return act(*given, **more)

    monkeypatch.setattr(module, name, fails_first)
    return codes


@pytest.mark.parametrize("code", [OVERTAKEN, LOST])
def test_a_run_goes_on_at_once(cast: Cast, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    run = make_run(make_target(cast.development), "queued")
    monkeypatch.setattr(runs, "_run_kind", lambda _run, _lease: "")
    failing(monkeypatch, runs, "_run_kind", [code, code])
    done = runs.execute(run.pk)
    assert done is not None
    # It is no attempt that failed.
    assert (done.state, done.attempts) == (RunState.DONE, 1)


def test_a_run_that_is_overtaken_time_and_again_waits_for_any_worker(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(make_target(cast.development), "queued")
    monkeypatch.setattr(runs, "_run_kind", lambda _run, _lease: "")
    failing(monkeypatch, runs, "_run_kind", [OVERTAKEN] * 5)
    with pytest.raises(OperationalError):
        runs.execute(run.pk)
    stored = Run.objects.get(pk=run.pk)
    assert (stored.state, stored.lease_until, stored.lease_owner) == (RunState.QUEUED, None, "")


def test_a_defect_keeps_the_lease(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(make_target(cast.development), "queued")
    failing(monkeypatch, runs, "_run_kind", [NO_COLUMN])
    with pytest.raises(OperationalError):
        runs.execute(run.pk)
    assert Run.objects.get(pk=run.pk).lease_until is not None


@pytest.mark.parametrize("code", [OVERTAKEN, LOST])
def test_a_rotation_goes_on_at_once(cast: Cast, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    rotation = asked(cast, made_policy(cast, GeneratedWorld()))
    failing(monkeypatch, rotations, "_run_steps", [code])
    rotations.execute(rotation.pk)
    assert Rotation.objects.get(pk=rotation.pk).step not in {Step.PREPARE, Step.WAITING}


@pytest.mark.parametrize("code", [OVERTAKEN, LOST])
def test_a_rotation_that_was_overtaken_between_two_steps_goes_on_at_once(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    rotation = asked(cast, made_policy(cast, GeneratedWorld()))
    # In the transaction, once the next step was written.
    failing(monkeypatch, steps, "record", [code])
    rotations.execute(rotation.pk)
    assert Rotation.objects.get(pk=rotation.pk).step not in {Step.PREPARE, Step.WAITING}
