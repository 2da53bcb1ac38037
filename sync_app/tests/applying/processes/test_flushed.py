"""Redis loses all it holds while workers and beats are at work, and a worker dies: all is written, once."""

import itertools
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from redis import Redis as Client

from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.tests.applying.processes.pushes import FOREIGN, LEASE_SECONDS, Fleet, installation
from tests.servers.redis import Redis

pytestmark = [pytest.mark.every_database_weekly, pytest.mark.parametrize("world", ["aws"], indirect=True)]
WAIT_SECONDS = 120
# Before each so-and-so-many-th write Redis forgets everything.
EVERY = 4


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Client]:
    """Start a Redis of its own: what is flushed would be missed by other tests."""
    server = Redis(tmp_path)
    try:
        server.start()
        server.wait()
        with Client(host="127.0.0.1", port=server.port) as client:
            yield client
    finally:
        server.stop()


class Services(Fleet):
    """Real workers and beats, whom nobody tells what to do but the rows, and Redis while it remembers."""

    module = "sync_app.tests.applying.processes.services"
    # So short that a worker that was killed is soon followed by another.
    lease_seconds: ClassVar[float] = 2
    world: AwsWorld

    def __init__(
        self, environment: dict[str, str], world: AwsWorld, *, redis: Client, secrets: int, kills: int
    ) -> None:
        super().__init__(environment, world, secrets=secrets, seed=0)
        self._redis, self._reached = redis, queue.SimpleQueue[threading.Event]()
        self._writes, self._one_by_one = itertools.count(1), threading.Lock()
        self._workers, self.flushes, self._to_kill = 2 + kills, 0, 0

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        return self._process.ask(do, **request)

    def serve(self) -> None:
        self.ask("serve", workers=self._workers, beats=2, lease_seconds=self.lease_seconds)

    def push(self, *, kills: int = 0, lease_seconds: float = LEASE_SECONDS) -> dict[str, Any]:
        """Ask for a pass, kill so many workers in the middle of a write, and return what came of it."""
        before, self._to_kill = self.count()["runs"], kills
        self.ask("request", target=self.target)
        run = self.count()["last"]
        while self._to_kill:
            writing = self._reached.get(timeout=WAIT_SECONDS)
            self._to_kill -= self.ask("kill_holder", run=run)["killed"]
            writing.set()
        return self.after(runs=before + 1)

    def count(self) -> dict[str, Any]:
        return self.ask("count", target=self.target)

    def after(self, *, runs: int) -> dict[str, Any]:
        """Return what came of the last run once so many have ended, and demand that there are no more."""
        deadline = time.monotonic() + WAIT_SECONDS
        found = self.count()
        while found["active"] or found["runs"] < runs:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
            found = self.count()
        assert (found["runs"], found["ended"]) == (runs, [])
        return self.ask("look", run=found["last"])

    def flush_while_writing(self) -> None:
        """From now on, let Redis lose everything before every few writes to the target."""
        for operation in ("CreateSecret", "PutSecretValue"):
            self._before(operation)

    def _before(self, operation: str) -> None:
        def act() -> None:
            self._before(operation)
            # While a worker is to die its other writes wait: enough are left for those who are to die after it.
            with self._one_by_one:
                if next(self._writes) % EVERY == 0:
                    self.flush()
                    self._offer_to_kill()

        self.world.plan.before(operation, act)

    def flush(self) -> None:
        self._redis.flushall()
        self.flushes += 1

    def _offer_to_kill(self) -> None:
        """Hold the write up until its worker is dead, if one is to die now; then let the write pass."""
        decided = threading.Event()
        if self._to_kill:
            self._reached.put(decided)
        while self._to_kill and not decided.wait(0.1):
            pass


@pytest.fixture
def services(
    request: pytest.FixtureRequest, tmp_path: Path, database: str, world: AwsWorld, redis: Client
) -> Iterator[Services]:
    secrets, kills = request.param
    address = f"redis://127.0.0.1:{redis.connection_pool.connection_kwargs['port']}/0"
    environment = installation(tmp_path, database) | {"REDIS_URL": address}
    made = Services(environment, world, redis=redis, secrets=secrets, kills=kills)
    try:
        made.start()
        yield made
    finally:
        made.end()


def survive(services: Services, *, kills: int) -> None:
    """Push a change while Redis forgets and workers die, and look at everything afterwards."""
    theirs, values = services.theirs(), services.change()
    services.flush_while_writing()
    services.account_for(services.push(kills=kills), values, theirs)
    assert services.flushes >= len(values) // EVERY
    # Two beats find the same target due, and one pass is made of it; its message is lost at once.
    runs = services.count()["runs"]
    services.ask("automate", target=services.target)
    services.flush()
    services.after(runs=runs + 1)
    services.ask("keep", values={"app/last": "first app/last"})
    services.flush()
    done = services.after(runs=runs + 2)
    assert done["plan"] == {"create": 1, "unchanged": len(values), "unmanaged": len(FOREIGN)}
    assert services.versions("app/last") == 1
    assert services.theirs() == theirs


@pytest.mark.parametrize("services", [(16, 2)], indirect=True)
def test_a_push_ends_in_sync_whatever_redis_forgets(services: Services) -> None:
    survive(services, kills=2)


@pytest.mark.torture
@pytest.mark.parametrize("services", [(200, 6)], indirect=True)
def test_a_long_push_ends_in_sync_whatever_redis_forgets(services: Services) -> None:
    survive(services, kills=6)
