"""A worker that lost its run changes nothing of it, by whatever it would have written."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from environments_app.tests.cast import Cast
from sync_app.errors import LeaseLost, RunOverdue, ShutdownRequested
from sync_app.jobs import leases
from sync_app.jobs.leases import LEASE, Lease, claim, database_now, fenced
from sync_app.models import Run
from sync_app.models.run import RunState
from sync_app.tests.shown import make_run, make_target

pytestmark = pytest.mark.django_db


@pytest.fixture
def lease(cast: Cast) -> Lease:
    run = make_run(make_target(cast.development), "queued")
    held = claim(run.pk, owner="worker")
    assert held is not None
    return held


def in_a_fence(lease: Lease) -> None:
    with fenced(lease):
        Run.objects.update(error="written behind the fence")


ACTS: dict[str, Callable[[Lease], object]] = {
    "renew": lambda lease: lease.renew(),
    "renew with more": lambda lease: lease.renew(error="mine"),
    "end": lambda lease: lease.end(RunState.DONE),
    "requeue": lambda lease: lease.requeue(not_before=None, error="mine"),
    "release": lambda lease: lease.release(),
    "fenced": in_a_fence,
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize(
    "meanwhile",
    [
        {"epoch": 99},
        {"lease_owner": "another"},
        {"state": RunState.DONE, "active": None},
        {"state": RunState.QUEUED},
    ],
    ids=str,
)
def test_a_worker_that_lost_its_run_changes_nothing_of_it(
    lease: Lease, act: str, meanwhile: dict[str, Any]
) -> None:
    Run.objects.update(**meanwhile)
    before = list(Run.objects.values())
    with pytest.raises(LeaseLost):
        ACTS[act](lease)
    assert list(Run.objects.values()) == before


@pytest.mark.parametrize("act", ACTS)
def test_a_worker_that_has_its_run_changes_it(lease: Lease, act: str) -> None:
    Run.objects.update(lease_until=database_now() - timedelta(days=1))
    before = list(Run.objects.values())
    ACTS[act](lease)
    assert list(Run.objects.values()) != before


def test_what_a_worker_leaves_of_its_run(lease: Lease) -> None:
    later = database_now() + timedelta(minutes=5)
    kept = Run.objects.values().get()

    def left(act: Callable[[], None]) -> tuple[Any, ...]:
        Run.objects.update(**{**kept, "attempts": 3})
        act()
        run = Run.objects.get()
        assert (run.lease_owner, run.lease_until) == ("", None)
        return run.state, run.active, run.attempts, run.not_before, run.error, run.finished_at is not None

    before = kept["not_before"]
    assert left(lambda: lease.end(RunState.FAILED, error="why")) == ("failed", None, 3, before, "why", True)
    assert left(lambda: lease.requeue(not_before=later, error="why")) == (
        "queued",
        True,
        3,
        later,
        "why",
        False,
    )
    assert left(lease.release) == ("queued", True, 2, before, kept["error"], False)
    kept["attempts"] = 0
    Run.objects.update(**kept)
    lease.release()
    assert Run.objects.get().attempts == 0


def test_a_worker_changes_no_run_but_its_own(cast: Cast, lease: Lease) -> None:
    other = make_run(make_target(cast.development, "other"), "queued")
    Run.objects.filter(pk=other.pk).update(epoch=1, lease_owner="worker", state=RunState.RUNNING)
    before = Run.objects.filter(pk=other.pk).values().get()
    for name, act in ACTS.items():
        if name != "fenced":
            Run.objects.exclude(pk=other.pk).update(state=RunState.RUNNING, active=True, lease_owner="worker")
            act(lease)
    assert Run.objects.filter(pk=other.pk).values().get() == before


@pytest.mark.parametrize(
    ("changes", "free"),
    [
        ({}, False),
        ({"lease_until": -1}, True),
        ({"lease_until": 1}, False),
        # Further ahead than a lease can be: it was written before the clock was put back.
        ({"lease_until": 2 * LEASE.total_seconds() + 1}, True),
        ({"lease_until": -1, "not_before": -1}, True),
        ({"lease_until": -1, "not_before": 30}, False),
        ({"lease_until": -1, "not_before": leases.LONGEST_WAIT.total_seconds() - 30}, False),
        ({"lease_until": -1, "not_before": leases.LONGEST_WAIT.total_seconds() + 30}, True),
        ({"lease_until": -1, "state": RunState.DONE}, False),
        ({"lease_until": -1, "state": RunState.FAILED}, False),
        ({"lease_until": -1, "active": None}, False),
    ],
    ids=str,
)
def test_a_run_is_claimed_once_its_lease_is_over_and_its_time_has_come(
    lease: Lease, changes: dict[str, Any], free: bool
) -> None:
    now = database_now()
    moments = {"lease_until", "not_before"}
    given = {
        name: now + timedelta(seconds=value) if name in moments else value for name, value in changes.items()
    }
    Run.objects.update(**given)
    before = Run.objects.get()
    second = claim(before.pk, owner="another")
    after = Run.objects.get()
    assert (second is not None) is free
    assert (after.epoch, after.attempts) == (before.epoch + free, before.attempts + free)
    if second:
        with pytest.raises(LeaseLost):
            lease.renew()
        second.renew()


def test_a_run_has_so_much_time_over_all_its_workers(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_SYNC_RUN_SECONDS = 3600
    run = make_run(make_target(cast.development), "queued")
    for spent, left in ((0, True), (3500, True), (3600, False), (4000, False)):
        now = database_now()
        Run.objects.update(started_at=now - timedelta(seconds=spent), lease_until=now - timedelta(days=1))
        held = claim(run.pk, owner=f"after {spent}")
        assert held is not None
        if left:
            held.require_unexpired()
            held.heartbeat()
            continue
        for asks in (held.require_unexpired, held.heartbeat):
            with pytest.raises(RunOverdue):
                asks()


def test_a_lease_that_was_not_renewed_in_time_holds_no_more(
    lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.monotonic()
    for seconds, holds in ((1, True), (LEASE.total_seconds() - 1, True), (LEASE.total_seconds() + 1, False)):
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: began + seconds)
        if holds:
            lease.require_unexpired()
            continue
        with pytest.raises(LeaseLost):
            lease.require_unexpired()


def test_a_worker_that_is_asked_to_stop_stops_where_it_may(
    lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease.heartbeat_or_stop()
    monkeypatch.setattr(leases, "_shutdown_requested", True)
    with pytest.raises(ShutdownRequested):
        lease.heartbeat_or_stop()


def test_a_clock_that_was_put_back_gives_a_run_no_more_time(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_SYNC_RUN_SECONDS = 100
    run = make_run(make_target(cast.development), "queued")
    Run.objects.filter(pk=run.pk).update(started_at=database_now() + timedelta(hours=1))
    lease = claim(run.pk, owner="worker")
    assert lease is not None
    assert lease.ends_within(timedelta(seconds=100))
    assert not lease.ends_within(timedelta(seconds=50))


def test_who_found_work_taken_does_not_give_it_free() -> None:
    with leases.reserve("run", 1) as first:
        assert first
        for kind, number, free in (
            ("run", 1, False),
            ("run", 1, False),
            ("run", 2, True),
            ("rotation", 1, True),
        ):
            with leases.reserve(kind, number) as found:
                assert found is free
    with leases.reserve("run", 1) as again:
        assert again


@pytest.mark.parametrize("attempts", [0, 1, 9, 20, 5_000])
def test_the_wait_for_the_next_attempt_doubles_and_is_bounded(attempts: int) -> None:
    whole = min(leases.LONGEST_WAIT.total_seconds(), 2.0 * 2 ** min(attempts, 9))
    for _ in range(20):
        assert whole / 2 <= leases.retry_delay(attempts).total_seconds() <= whole
