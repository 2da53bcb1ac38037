"""Keeper writes no faster than a system asks for."""

from types import SimpleNamespace

import pytest

from environments_app.tests.cast import Cast
from sync_app.backends.github.tests.world import GitHubWorld
from sync_app.jobs import worker_pool
from sync_app.jobs.worker_pool import RateLimiter
from sync_app.tests.applying.stage import Stage


class Clock:
    """A clock that nothing moves but the test, and the pauses that are asked of it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pauses: list[float] = []

    def wait(self, limiter: RateLimiter, times: int) -> list[float]:
        """Return the pauses of so many writes."""
        self.pauses.clear()
        for _ in range(times):
            limiter.wait()
        return self.pauses


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    stand_in = SimpleNamespace(monotonic=lambda: clock.seconds, sleep=clock.pauses.append)
    monkeypatch.setattr(worker_pool, "time", stand_in)
    return clock


def test_the_writes_of_one_second_come_at_once_and_the_others_at_the_rate(clock: Clock) -> None:
    assert clock.wait(RateLimiter(2), 5) == [0, 0, 0.5, 1, 1.5]


def test_time_that_passes_counts_for_a_second_at_most(clock: Clock) -> None:
    limiter = RateLimiter(2)
    clock.wait(limiter, 4)
    clock.seconds = 1.5
    assert clock.wait(limiter, 2) == [0, 0.5]
    clock.seconds = 3600
    assert clock.wait(limiter, 3) == [0, 0, 0.5]


def test_each_write_to_a_system_waits_its_turn(cast: Cast, github: GitHubWorld, clock: Clock) -> None:
    stage = Stage(cast, github)
    for number in range(3):
        stage.keep(f"app/{number}", "value")
    stage.sync()
    # GitHub asks for a second between two writes.
    assert sorted(clock.pauses) == [0, 1, 2]
