"""Asked to stop, Keeper finishes what it has begun; a part of it that is killed is started again."""

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.processes import ROOT, alive, begin_on
from tests.served import Served, answers, environment, issue_token, keeper
from tests.servers.server import free_port

WAIT_SECONDS = 150


@pytest.fixture
def served(tmp_path: Path, schema: Path | None) -> Iterator[Served]:
    # Its heart beats each second, by which a test sees that the worker works.
    module = "keeper_project.tests.processes.frequent_heartbeat"
    with keeper(tmp_path / "var", module=module, schema=schema) as running:
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
        [sys.executable, "-m", "keeper_project.tests.processes.asked_to_stop", str(free_port())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


OF_WEB_SERVER = "process of the web server"
PARTS = [OF_WEB_SERVER, "read engine", "web server", "worker"]


def parts(keeper: int) -> dict[str, int]:
    """Return the processes of a Keeper by name, once all are there and nobody else is."""
    found: dict[str, int] = {}

    def complete() -> bool:
        found.clear()
        with suppress(FileNotFoundError, ProcessLookupError):
            found.update(
                (Path(f"/proc/{child}/comm").read_text().strip(), child) for child in children(keeper)
            )
            found.update((OF_WEB_SERVER, each) for each in children(found.get("web server", 0)))
        return sorted(found) == PARTS

    until(complete, "a part is missing")
    return found


def processes_check(served: Served) -> str:
    """Return what readiness says about ended processes, of a Keeper that serves all the same."""
    try:
        status, body = served.get("/readyz")
    except OSError:
        # Its process is ended with the web server that was killed, and with it what it had not answered.
        return ""
    assert status == 200
    told = json.loads(body)
    detail: str = next(check["detail"] for check in told["checks"] if check["name"] == "processes")
    assert not detail or told["status"] == "degraded"
    return detail


@pytest.mark.parametrize(
    "ends",
    [
        [
            ("web server", signal.SIGTERM, "the web server ended with exit code 0"),
            ("worker", signal.SIGKILL, "the worker was killed by signal 9"),
            ("read engine", signal.SIGKILL, "the read engine was killed by signal 9"),
        ],
        [
            ("web server", signal.SIGKILL, "the web server was killed by signal 9"),
            ("worker", signal.SIGTERM, "the worker ended with exit code 0"),
        ],
        [("process of the web server", signal.SIGKILL, "the web server ended with exit code 1")],
    ],
    ids=["asked", "killed", "a process of it"],
)
def test_keeper_starts_a_part_that_ended_again(
    served: Served, tmp_path: Path, ends: list[tuple[str, int, str]]
) -> None:
    """Several parts one after the other: to start a Keeper takes longer than to end one of its parts."""
    for name, number, how in ends:
        ends_and_is_started_again(served, tmp_path / "var", name, number, how)
    assert served.stop() == 0


def ends_and_is_started_again(served: Served, data: Path, name: str, number: int, how: str) -> None:
    before = parts(served.process.pid)
    until((data / "heartbeat").exists, "the worker never worked")
    (data / "heartbeat").unlink()
    os.kill(before[name], number)
    # Nobody holds the port, or goes on working, behind the back of the one that is started.
    whole = "web server" if "web" in name else name
    gone = {part: pid for part, pid in before.items() if part.endswith(whole)}
    until(lambda: not any(alive(pid) for pid in gone.values()), "one went on")
    until(lambda: answers(served.port), "it never served again")
    # A web server that was never down answers before the end of the worker is noted.
    until(lambda: how in processes_check(served), "the end was not shown")
    untouched = {part: pid for part, pid in before.items() if part not in gone}
    assert untouched.items() <= parts(served.process.pid).items()
    # The worker works, with beat in it.
    until((data / "heartbeat").exists, "no worker works")
    with closing(sqlite3.connect(data / "keeper.db", timeout=30)) as database:
        until(lambda: restarts(database, whole), "it was not recorded")
        assert restarts(database, whole) == [("failed",)]
        # The alert is written after the event.
        until(lambda: restart_alerts(database, whole), "nobody was alerted")
        assert [subject.startswith("T" + how[1:]) for subject in restart_alerts(database, whole)] == [True]


def restarts(database: sqlite3.Connection, part: str) -> list[tuple[str]]:
    found = "SELECT outcome FROM audit_app_auditevent WHERE action = 'process.restart' AND object_name = ?"
    return database.execute(found, [part]).fetchall()


def restart_alerts(database: sqlite3.Connection, part: str) -> list[str]:
    found = "SELECT subject FROM environments_app_alert WHERE kind = 'process.restarted'"
    return [subject for (subject,) in database.execute(found) if part in subject]


def test_ctrl_c_ends_a_keeper_that_is_about_to_start(tmp_path: Path) -> None:
    data, output = tmp_path / "var", tmp_path / "output"
    with output.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "keeper_project.runtime.cli", "run", "--port", str(free_port())],
            cwd=ROOT, env=environment(data), stdout=out, stderr=out,
        )  # fmt: skip
    until(data.exists, "it read no settings")
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_SECONDS) == -signal.SIGINT
    # Python raises nothing, which a callback of its own could swallow.
    assert "KeyboardInterrupt" not in output.read_text()


def test_keeper_ends_where_its_web_server_cannot_start(tmp_path: Path, schema: Path | None) -> None:
    begin_on(schema, tmp_path / "var")
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        data, port = tmp_path / "var", taken.getsockname()[1]
        script = (
            "from keeper_project import startup; startup.refuse_taken = print; "
            "from keeper_project.runtime import cli; cli.main()"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, "run", "--port", str(port)],
            cwd=ROOT, env=environment(data), capture_output=True, text=True, check=False, timeout=WAIT_SECONDS,
        )  # fmt: skip
    assert done.returncode == 1
    assert "The web server ended with exit code 1. Keeper stopped" in done.stderr


def test_a_killed_keeper_leaves_nobody_and_starts_again(served: Served, tmp_path: Path) -> None:
    pid = served.process.pid
    until(lambda: len(children(pid)) == 3, "the children never came")
    offspring = [*children(pid), *(each for child in children(pid) for each in children(child))]
    served.process.kill()
    served.process.wait()
    until(lambda: not any(alive(each) for each in offspring), "one went on")
    with keeper(tmp_path / "var") as again:
        assert again.get("/readyz")[0] == 200
        assert again.stop() == 0
