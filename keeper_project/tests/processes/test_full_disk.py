"""On a full disk Keeper serves what needs no write, refuses the rest in words, and goes on when there is room."""

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keeper_project.tests.processes.test_stopping import OF_WEB_SERVER, parts, until
from tests.processes import begin_on, database, run_commands
from tests.served import Served, environment, keeper

__all__ = ["database"]
SECRET = "/api/environments/development/secrets/a"
ISSUE = ["issue_token", "--environment", "development", "--role", "editor", "--name", "test"]


class SmallDisk:
    """A file system of its own, in memory."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self._ballast = at / "ballast"

    def mount(self) -> bool:
        """Make it, and return whether that was permitted: to root, outside some containers."""
        self.at.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(self.at)]
        return not os.geteuid() and not subprocess.run(mount, capture_output=True, check=False).returncode

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.at)], check=True)

    def fill(self) -> None:
        """Leave no byte of it."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def free(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    small = SmallDisk(tmp_path / "disk")
    if not small.mount():
        # As root it has to work: a part that is missing fails the run.
        assert os.geteuid(), "no small file system can be mounted"
        pytest.skip("a file system is mounted by root alone")
    yield small
    small.unmount()


@dataclass
class Client:
    """What a program asks of a Keeper by its token."""

    served: Served
    token: str

    def ask(self, method: str, path: str, value: str = "") -> tuple[int, dict[str, object]]:
        body = json.dumps({"value": value}).encode() if value else None
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.served.port}{path}"
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


def statuses(served: Served, *paths: str) -> dict[str, int]:
    return {path: served.get(path)[0] for path in paths}


def requests_counted(served: Served) -> float:
    """Return how many lists the processes have counted together."""
    lines = re.findall(
        rb'^keeper_request_seconds_count\{.*view="api-secrets".*\} (\S+)$',
        served.get("/metrics")[1],
        re.MULTILINE,
    )
    return sum(map(float, lines))


def test_what_needs_no_write_is_served_from_a_full_disk(
    disk: SmallDisk, tmp_path: Path, schema: Path | None
) -> None:
    data, output = disk.at / "var", tmp_path / "output"
    with keeper(data, schema=schema, output=output) as served:
        (token,) = run_commands(environment(data), ISSUE)
        client = Client(served, token.strip())
        assert client.ask("PUT", SECRET, "first")[0] == 201
        began, lines = parts(served.process.pid), len(output.read_text().splitlines())
        disk.fill()
        for _ in range(20):
            assert serves_what_it_can(client)
        assert parts(served.process.pid) == began
        # A process that starts now finds no room for a file.
        os.kill(began[OF_WEB_SERVER], signal.SIGKILL)
        os.kill(began["worker"], signal.SIGKILL)
        until(lambda: parts(served.process.pid) != began, "nothing was killed")
        until(lambda: is_served(client), "it does not come back")
        written = output.read_text()
        assert "Traceback" not in written
        assert "No space left" not in written.replace(str(data), "")
        assert len(written.splitlines()) < lines + 30, written
        disk.free()
        assert client.ask("PUT", SECRET, "second")[0] == 200
        assert client.ask("GET", SECRET)[1]["value"] == "second"
        counted = requests_counted(served)
        assert client.ask("GET", "/api/secrets?environment=development")[0] == 200
        assert requests_counted(served) == counted + 1
        assert served.stop() == 0


def serves_what_it_can(client: Client) -> bool:
    """Return whether pages, probes and lists are served; demand that the rest is refused in words."""
    for answer in (client.ask("GET", SECRET), client.ask("PUT", SECRET, "lost")):
        assert answer[0] == 503
        assert answer[1]["title"] == "The disk is full"
    paths = ("/healthz", "/readyz", "/sign-in", "/metrics")
    assert statuses(client.served, *paths) == dict.fromkeys(paths, 200)
    state = json.loads(client.served.get("/readyz")[1])
    assert state["status"] == "degraded"
    assert "the disk of the data directory is full, or nearly so" in [
        each["detail"] for each in state["checks"]
    ]
    return client.ask("GET", "/api/secrets?environment=development")[0] == 200


def is_served(client: Client) -> bool:
    try:
        return serves_what_it_can(client)
    except OSError:
        return False


# Without the mark there is no database to copy where this file is run alone.
@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_a_database_elsewhere_serves_everything(disk: SmallDisk, tmp_path: Path, database: str) -> None:
    """KEEPER_DATA_DIR is full alone: no load balancer takes Keeper out of service."""
    data, output = disk.at / "var", tmp_path / "output"
    begin_on(None, data)
    with keeper(data, output=output, database=database) as served:
        (token,) = run_commands(environment(data, database), ISSUE)
        client = Client(served, token.strip())
        disk.fill()
        assert client.ask("PUT", SECRET, "first")[0] == 201
        assert client.ask("GET", SECRET)[1]["value"] == "first"
        paths = ("/healthz", "/readyz", "/sign-in", "/metrics")
        assert statuses(served, *paths) == dict.fromkeys(paths, 200)
        began = parts(served.process.pid)
        os.kill(began["worker"], signal.SIGKILL)
        until(lambda: parts(served.process.pid)["worker"] != began["worker"], "the worker stays away")
        assert client.ask("PUT", SECRET, "second")[0] == 200
        assert "Traceback" not in output.read_text()
        assert served.stop() == 0
