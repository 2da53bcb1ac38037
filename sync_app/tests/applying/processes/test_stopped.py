"""A worker that is asked to stop in the middle of a push leaves the rest to the next one, at once."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis as Client

from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.jobs.worker_pool import CONCURRENCY
from sync_app.tests.applying.processes.pushes import installation
from sync_app.tests.applying.processes.test_flushed import WAIT_SECONDS, Services, redis

pytestmark = [pytest.mark.every_database_weekly, pytest.mark.parametrize("world", ["aws"], indirect=True)]
__all__ = ["redis"]
SECRETS = 40
# Before this write the target becomes slow.
SLOW_AT = 5


class Stopped(Services):
    """One worker, and a target that answers no write from some point on until it is let go."""

    # Nobody dies: on a busy machine another thread would take over what stands still for as long as that.
    lease_seconds = 120

    def slow_down(self) -> None:
        self.slow, self.go = threading.Event(), threading.Event()
        for operation in ("CreateSecret", "PutSecretValue"):
            self._hold(operation)

    def _hold(self, operation: str) -> None:
        def act() -> None:
            self._hold(operation)
            if next(self._writes) >= SLOW_AT:
                self.slow.set()
                self.go.wait()

        self.world.plan.before(operation, act)


@pytest.fixture
def services(
    tmp_path: Path, database: str, world: AwsWorld, redis: Client, request: pytest.FixtureRequest
) -> Iterator[Stopped]:
    address = f"redis://127.0.0.1:{redis.connection_pool.connection_kwargs['port']}/0"
    environment = installation(tmp_path, database) | {"REDIS_URL": address}
    made = Stopped(environment, world, redis=redis, secrets=SECRETS, kills=-1)
    try:
        made.start()
        yield made
    finally:
        made.end()


def test_a_push_is_left_at_a_safe_point_and_carried_on(services: Stopped) -> None:
    theirs, values = services.theirs(), services.change()
    services.slow_down()
    services.ask("request", target=services.target)
    run = services.count()["last"]
    assert services.slow.wait(WAIT_SECONDS), "nothing was written"
    pid = services.ask("stop_holder", run=run)["pid"]
    services.go.set()
    left = services.ask("after_stop", pid=pid, run=run)
    # Not tried in vain, and nobody waits for its lease.
    assert left | {"finished": 0} == {
        "code": 0,
        "state": "queued",
        "held": False,
        "attempts": 0,
        "finished": 0,
        "error": "",
    }
    assert 0 < left["finished"] <= SLOW_AT + 2 * CONCURRENCY
    services.ask("serve", workers=1, beats=0, lease_seconds=Stopped.lease_seconds)
    runs = services.count()["runs"]
    services.account_for(services.after(runs=runs), values, theirs)
