"""Worker and beat outlive a broker that goes away, with processes as Celery starts them by default."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from tests.processes import begin_on
from tests.servers.__main__ import installation
from tests.servers.redis import Redis

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 300


@dataclass
class Programs:
    """A Redis, a prefork worker and beat on one installation."""

    server: Redis
    client: "redis.Redis"
    worker: Path
    beat: Path

    def logs(self) -> str:
        return self.worker.read_text() + self.beat.read_text()

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not holds():
            assert time.monotonic() < deadline, self.logs()[-3000:]
            time.sleep(0.1)

    def is_working(self, *, since: datetime) -> bool:
        """Say whether a worker has carried out a heartbeat that beat sent after a time."""
        for key in self.client.keys("*keeper:heartbeat*"):
            found = str(self.client.get(key) or b"")
            if "20" not in found:
                continue  # It has expired since it was listed.
            at = datetime.fromisoformat(found[found.index("20") :][:32])
            return at > since
        return False


@pytest.fixture
def programs(tmp_path: Path, schema: Path | None) -> Iterator[Programs]:
    server = Redis(tmp_path)
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        server.wait()
        (url,) = server.environment().values()
        variables = {
            **os.environ,
            **installation(tmp_path / "var"),
            "REDIS_URL": url,
            "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
        }
        begin_on(schema, tmp_path / "var")
        command = [sys.executable, "-m", "keeper_project.runtime.cli", "init-db"]
        subprocess.run(command, cwd=ROOT, env=variables, check=True, capture_output=True)
        logs = []
        for name, *options in (("worker", "--concurrency", "1"), ("beat",)):
            logs.append(tmp_path / f"{name}.log")
            with logs[-1].open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.operation.quick_heart", name, *options],
                    cwd=ROOT, env=variables, stdout=log, stderr=log,
                )  # fmt: skip
            stack.callback(process.wait, WAIT_SECONDS)
            stack.callback(process.terminate)
        client = stack.enter_context(redis.Redis.from_url(url))
        yield Programs(server, client, *logs)


def test_work_goes_on_when_the_broker_is_back(programs: Programs) -> None:
    programs.until(lambda: programs.is_working(since=datetime.fromtimestamp(0, UTC)))
    programs.server.kill()
    programs.until(lambda: "the broker does not answer" in programs.beat.read_text())
    # Beat fails at several ticks.
    time.sleep(3)
    programs.server.start_again()
    back = datetime.now(UTC)
    programs.until(lambda: programs.is_working(since=back))
    assert "Traceback" not in programs.logs()
    # Gossip fails at each new connection.
    assert "celery.bootsteps" not in programs.logs()
    assert programs.beat.read_text().count("the broker does not answer") == 1
