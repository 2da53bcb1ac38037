"""Asked to stop, a worker finishes what it has begun and leaves the rest; killed, it loses no message either."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client

from core.config.sizes import WORKER_THREADS
from keeper_project.celery import app
from keeper_project.tests.processes.held_task import BEAT_DIES, ENDS, FOLDER, LEFT, NAME, PATIENCE, WANTED
from keeper_project.tests.processes.test_stopping import WAIT_SECONDS, until
from tests.processes import ROOT, database
from tests.served import environment
from tests.servers.redis import Redis
from tests.servers.server import free_port

__all__ = ["database"]
THREADS = WORKER_THREADS
TASKS = [f"task {number:02}" for number in range(THREADS + 2)]
STOPS = "the worker stops"


class Server:
    """Redis; what a worker has taken is in a place of its own there."""

    def __init__(self, redis: Redis) -> None:
        self.url = f"redis://127.0.0.1:{redis.port}/0"

    def messages(self) -> list[dict[str, Any]]:
        with Client.from_url(self.url) as client, client.pipeline(transaction=True) as both:
            # At once: a message that a worker puts back in between would be counted twice.
            taken, waiting = both.hvals("unacked").lrange("celery", 0, -1).execute()
            return [json.loads(each)[0] for each in taken] + [json.loads(each) for each in waiting]


class Keeper:
    """A worker that is started as its operator starts it, and the task that it is held at."""

    def __init__(
        self, directory: Path, command: list[str], variables: dict[str, str], broker: Server | None = None
    ) -> None:
        self.folder, self.broker = directory / "held", broker
        self.folder.mkdir()
        self.output = directory / "output"
        self._command, self._variables = command, variables
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._variables, stdout=out, stderr=out, start_new_session=True
            )
        until(lambda: "ready." in self.new_output(), self.output.read_text())

    def patience(self, seconds: float) -> None:
        """Let the supervisor kill what does not end in so long a time."""
        self._variables[PATIENCE] = str(seconds)

    def new_output(self) -> str:
        """Return what was printed since the last worker stopped."""
        return self.output.read_text().rpartition(STOPS)[2]

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def wait(self) -> int:
        assert self.process
        return self.process.wait(WAIT_SECONDS)

    def begin(self) -> None:
        """Ask for more tasks than there are threads, and wait until each thread is at one."""
        if self.broker is None:
            self.want(TASKS)
        else:
            with app.connection_for_write(self.broker.url) as connected:
                for name in TASKS:
                    app.send_task(NAME, args=[str(self.folder), name], connection=connected)
        until(lambda: len(self.lines("begun")) == THREADS, "no thread took a task")

    def want(self, names: list[str]) -> None:
        """Have the worker that no message from outside reaches begin tasks."""
        (self.folder / "draft").write_text("\n".join(names))
        (self.folder / "draft").rename(self.folder / WANTED)

    def let_go(self) -> None:
        (self.folder / "go").touch()

    def lines(self, what: str) -> list[str]:
        path = self.folder / what
        return sorted(path.read_text().splitlines()) if path.exists() else []

    def waiting(self) -> int:
        """Return how many of the test's messages the broker has."""
        assert self.broker
        return sum(message["headers"]["task"] == NAME for message in self.broker.messages())


def embedded(directory: Path, database: str) -> Keeper:
    """`keeper run`, whose worker is alone with its messages."""
    command = ["-m", "keeper_project.tests.processes.held_task", "run", "--port", str(free_port())]
    variables = environment(directory / "var") | {"DATABASE_URL": database, FOLDER: str(directory / "held")}
    return Keeper(directory, [sys.executable, *command], variables)


def production(directory: Path, database: str, redis: Redis) -> Keeper:
    """The worker's command of docker-compose.prod.yml and deploy/systemd, with Redis."""
    command = [
        "--app",
        "keeper_project",
        "worker",
        "--loglevel",
        "INFO",
        "--pool",
        "threads",
        "--concurrency",
        str(THREADS),
    ]
    broker = Server(redis)
    variables = environment(directory / "var") | {"REDIS_URL": broker.url, "DATABASE_URL": database}
    celery = str(Path(sys.executable).with_name("celery"))
    include = ["--include", "keeper_project.tests.processes.held_task"]
    return Keeper(directory, [celery, *command, *include], variables, broker)


@pytest.fixture
def alone(tmp_path: Path, database: str) -> Iterator[Keeper]:
    yield from running(embedded(tmp_path, database))


@pytest.fixture
def worker(tmp_path: Path, database: str) -> Iterator[Keeper]:
    redis = Redis(tmp_path)
    try:
        redis.start()
        redis.wait()
        yield from running(production(tmp_path, database, redis))
    finally:
        redis.stop()


def running(keeper: Keeper) -> Iterator[Keeper]:
    try:
        yield keeper
    finally:
        keeper.end()


def test_it_finishes_what_it_has_begun_and_leaves_what_waits(worker: Keeper) -> None:
    worker.start()
    worker.begin()
    # Those who are impatient change nothing.
    for _ in range(2):
        worker.signal(signal.SIGTERM)
    until(lambda: STOPS in worker.output.read_text(), "it never began to stop")
    # It says so before it drops what waits for a thread.
    until((worker.folder / LEFT).exists, "it never left what waits")
    begun = worker.lines("begun")
    assert len(begun) == THREADS
    assert worker.waiting() == len(TASKS)
    worker.let_go()
    assert worker.wait() == 0
    assert worker.lines("ended") == worker.lines("begun") == begun
    assert worker.waiting() == len(TASKS) - THREADS
    worker.start()
    until(lambda: worker.lines("ended") == TASKS, "the next one left something")
    assert worker.lines("begun") == TASKS
    until(lambda: not worker.waiting(), "what is done was not acknowledged")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert all_is_json(worker.output), worker.output.read_text()


def test_without_a_broker_it_finishes_what_it_has_begun_as_well(alone: Keeper) -> None:
    alone.start()
    alone.begin()
    alone.signal(signal.SIGTERM)
    until(lambda: STOPS in alone.output.read_text(), "it never began to stop")
    until((alone.folder / LEFT).exists, "it never left what waits")
    alone.let_go()
    assert alone.wait() == 0
    assert alone.lines("ended") == alone.lines("begun")
    assert len(alone.lines("begun")) == THREADS
    assert all_is_json(alone.output), alone.output.read_text()


def all_is_json(output: Path) -> bool:
    """Say whether everything is a line of the log, but for what `keeper run` tells who started it."""
    told = ("Sign in as ", "Password, shown once: ", "Keeper serves http://")
    return all(line[:1] == "{" and json.loads(line) for line in lines_of(output) if not line.startswith(told))


def lines_of(output: Path) -> list[str]:
    return output.read_text().splitlines()


def test_tasks_that_end_their_process_take_no_place_and_a_dead_beat_starts_the_worker_again(
    alone: Keeper,
) -> None:
    """As many tasks as the worker fetches ahead, and more."""
    alone.let_go()
    alone.start()
    alone.want([ENDS] * (5 * THREADS) + TASKS)
    until(lambda: alone.lines("ended") == TASKS, "the worker takes no task any more")
    assert "starts again" not in alone.output.read_text()
    (alone.folder / WANTED).unlink()
    (alone.folder / BEAT_DIES).touch()
    until(lambda: "the worker ended with exit code 70" in alone.output.read_text(), "nobody noticed")
    until(lambda: alone.output.read_text().count(" ready.") > 1, "it was not started again")
    alone.signal(signal.SIGTERM)
    assert alone.wait() == 0


def test_the_supervisor_kills_a_worker_whose_time_has_run_out(alone: Keeper) -> None:
    alone.patience(0.5)
    alone.start()
    alone.begin()
    alone.signal(signal.SIGTERM)
    assert alone.wait() == 0
    assert alone.lines("ended") == []


def test_what_it_was_killed_at_stays_in_redis(worker: Keeper) -> None:
    worker.start()
    worker.begin()
    # What systemd and Docker do in the end.
    worker.signal(signal.SIGTERM)
    until(lambda: STOPS in worker.output.read_text(), "it never began to stop")
    worker.end()
    assert worker.lines("ended") == []
    assert worker.waiting() == len(TASKS)
