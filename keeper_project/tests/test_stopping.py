"""Asked to stop, Keeper finishes what it has begun; when a part of it goes, all of it does."""

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from keeper_project.tests.test_run import ROOT, Served, answers, issue_token, keeper
from keeper_project.tests.test_supervising import alive
from tests.servers.server import free_port

WAIT_SECONDS = 150


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with keeper(tmp_path / "var") as running:
        yield running


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def took_all(port: int, client: int) -> bool:
    """Say whether the server has taken what a client sent from the kernel."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if int(local.rpartition(":")[2], 16) == port and int(remote.rpartition(":")[2], 16) == client:
            return int(queues.rpartition(":")[2], 16) == 0
    return False


@pytest.mark.parametrize("everybody", [False, True], ids=["asked", "all asked at once"])
def test_a_request_that_is_under_way_is_answered(served: Served, tmp_path: Path, *, everybody: bool) -> None:
    token = issue_token(tmp_path / "var")
    with (
        closing(sqlite3.connect(tmp_path / "var" / "keeper.db", isolation_level=None, timeout=30)) as other,
        closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)) as connection,
    ):
        # What is read is recorded first, which nobody can while somebody else writes.
        other.execute("BEGIN IMMEDIATE")
        connection.request(
            "GET",
            "/api/environments/development/export?format=json",
            headers={"Authorization": f"Bearer {token}"},
        )
        client = connection.sock.getsockname()[1]
        until(lambda: took_all(served.port, client), "the server never took the request")
        pid = served.process.pid
        offspring = [*children(pid), *(each for child in children(pid) for each in children(child))]
        for each in [pid, *(offspring if everybody else [])]:
            # The first one has asked the others by now.
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGTERM)
        until(lambda: not answers(served.port), "it went on listening")
        other.execute("ROLLBACK")
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())) == (200, {})
    assert served.process.wait(WAIT_SECONDS) == 0


def test_every_stop_is_heard() -> None:
    # Of two signals at once the kernel may hand both to a thread which is not the one that they have to wake.
    done = subprocess.run(
        [sys.executable, "-m", "keeper_project.tests.asked_to_stop", str(free_port())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "number"),
    [("web server", signal.SIGTERM), ("web server", signal.SIGKILL), ("worker", signal.SIGKILL)],
)
def test_keeper_ends_when_a_part_of_it_does(served: Served, name: str, number: int) -> None:
    pid = served.process.pid
    until(lambda: len(children(pid)) == 2, "the children never came")
    part = children(pid)[0 if name == "web server" else 1]
    offspring = [*children(pid), *(each for child in children(pid) for each in children(child))]
    os.kill(part, number)
    assert served.process.wait(WAIT_SECONDS) == 1
    assert f"The {name} ended with exit code" in served.output.read_text()
    # None holds the port, or goes on working, behind the back of the one who starts it again.
    until(lambda: not any(alive(each) for each in offspring), "one went on")


def test_a_killed_keeper_leaves_nobody_and_starts_again(served: Served, tmp_path: Path) -> None:
    pid = served.process.pid
    until(lambda: len(children(pid)) == 2, "the children never came")
    offspring = [*children(pid), *(each for child in children(pid) for each in children(child))]
    served.process.kill()
    served.process.wait()
    until(lambda: not any(alive(each) for each in offspring), "one went on")
    with keeper(tmp_path / "var") as again:
        assert again.get("/readyz")[0] == 200
        assert again.stop() == 0
