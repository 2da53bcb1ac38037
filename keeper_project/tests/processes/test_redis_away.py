"""Redis hangs, loses all, is gone, or changes its password: Keeper serves, says so, and works on after it."""

import base64
import json
import os
import pickle
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from tests.processes import ROOT
from tests.production.stack import GuardedRedis
from tests.servers.openbao import OpenBao
from tests.servers.server import accepts
from tests.servers.tcp_switch import TcpSwitch, tcp_switch
from tests.soak.keeper import Keeper

# What a probe or a page takes at most is 2 s, and the rest is for a machine that does other work.
PROBE_SECONDS = 8.0
FAULT_SECONDS = 6.0
RECOVERY_SECONDS = 120.0
PASSWORD = "canary-5b1d-redis"
VALUE = "canary-5b1d-value"


class AclRedis(GuardedRedis):
    """Redis with the user that docs/deployment.md describes, beside the default one."""

    def command(self) -> list[str]:
        (line,) = re.findall(r"^user keeper .*$", (ROOT / "docs" / "deployment.md").read_text(), re.MULTILINE)
        return [*super().command(), *f"--{line}".replace(">PASSWORD", f">{self.password}").split()]


class Installation:
    """`keeper run` with a Redis that a test can hurt, and all the answers that it gave meanwhile."""

    def __init__(self, directory: Path, schema: Path | None, stack: ExitStack) -> None:
        self.server = AclRedis(directory, PASSWORD)
        stack.callback(self.server.stop)
        self.server.start()
        self.server.wait()
        self.line: TcpSwitch = stack.enter_context(tcp_switch(self.server.port))
        self.keeper = Keeper(directory, "keeper_project.tests.processes.frequent_heartbeat", schema)
        self.keeper.variables |= {
            "REDIS_URL": f"redis://keeper:{PASSWORD}@127.0.0.1:{self.line.port}/0",
            "KEEPER_METRICS_ALLOWED": "127.0.0.1",
        }
        stack.callback(self.keeper.stop)
        self.openbao = OpenBao(directory)
        stack.callback(self.openbao.stop)

    def start(self) -> None:
        for each in (self.openbao, self.keeper):
            each.start()
        for each in (self.openbao, self.keeper):
            each.wait()
        self.prepare()

    def prepare(self) -> None:
        """Make a secret and a target."""
        self.secret = self.expect(201, "editor", "POST", "/api/secrets", new_secret("kept"))["id"]
        given = self.openbao.environment()
        self.target = self.expect(
            201, "manager", "POST", "/api/environments/development/targets",
            {
                "name": "openbao",
                "backend": "vault_kv2",
                "destination": {"address": given["KEEPER_TEST_OPENBAO_URL"], "prefix": "kept"},
                "credentials": {"token": given["KEEPER_TEST_OPENBAO_TOKEN"]},
            },
        )["id"]  # fmt: skip

    def expect(self, status: int, role: str, method: str, path: str, body: object = None) -> dict[str, Any]:
        found, document = self.keeper.ask(role, method, path, body)
        assert found == status, document
        return document

    def redis(self) -> "redis.Redis":
        return redis.Redis.from_url(f"redis://:{PASSWORD}@127.0.0.1:{self.server.port}/0")

    def timed(self, path: str) -> tuple[float, requests.Response]:
        began = time.monotonic()
        answer = requests.get(self.keeper.url(path), timeout=30)
        return time.monotonic() - began, answer

    def bear(self, *, degraded: str) -> list[float]:
        """Use Keeper for a while: each answer comes in time, reads and writes are served; return the times."""
        ends, times, seen = time.monotonic() + FAULT_SECONDS, [], set()
        for number in range(1000):
            for path in ("/healthz", "/readyz", "/metrics"):
                seconds, answer = self.timed(path)
                times.append(seconds)
                assert seconds < PROBE_SECONDS, f"{path} took {seconds:.1f} s"
                assert answer.status_code == 200, answer.text
                if path == "/readyz":
                    checks = {check["name"]: check["detail"] for check in answer.json()["checks"]}
                    seen.add(checks["broker"])
            began = time.monotonic()
            read = self.expect(200, "reader", "GET", f"/api/secrets/{self.secret}")
            assert read["value"] == VALUE
            self.expect(201, "editor", "POST", "/api/secrets", new_secret(f"{number}-{time.monotonic_ns()}"))
            path = f"/api/environments/development/targets/{self.target}/plan"
            assert self.keeper.ask("manager", "POST", path)[0] in {202, 409}
            assert time.monotonic() - began < PROBE_SECONDS
            if time.monotonic() > ends:
                break
        if degraded:
            assert degraded in seen, seen
        return times

    def recover(self) -> None:
        """Wait until nothing is wrong any more, and until a worker carries out a plan that is asked for."""
        self.until(self.keeper.is_ready)
        path = f"/api/environments/development/targets/{self.target}"
        answers: list[tuple[int, dict[str, Any]]] = []

        def asked() -> bool:
            answers.append(self.keeper.ask("manager", "POST", f"{path}/plan"))
            return answers[-1][0] == 202

        self.until(asked)
        run = answers[-1][1]["uuid"]
        self.until(lambda: self.state(path, run) not in {"queued", "running"})
        assert self.state(path, run) == "done"

    def state(self, path: str, run: str) -> str:
        """Return the state of the run that was asked for: the schedule may have queued a newer one."""
        found: dict[str, str] = {each["uuid"]: each["state"] for each in self.runs(path)}
        return found[run]

    def runs(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.expect(200, "manager", "GET", f"{path}/runs?limit=20")["results"]
        return found

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + RECOVERY_SECONDS
        while not holds():
            assert time.monotonic() < deadline, (
                self.timed("/readyz")[1].text + self.keeper.log.read_text()[-3000:]
            )
            time.sleep(0.2)


def new_secret(name: str) -> dict[str, object]:
    return {"environment_id": 1, "name": f"redis/{name}", "secret_type": "TEXT", "value": VALUE}


@pytest.fixture
def installation(tmp_path: Path, schema: Path | None) -> Iterator[Installation]:
    with ExitStack() as stack:
        yield Installation(tmp_path, schema, stack)


def stop(it: Installation) -> None:
    os.kill(it.server.pid or 0, signal.SIGSTOP)


def go_on(it: Installation) -> None:
    os.kill(it.server.pid or 0, signal.SIGCONT)


def swallow(it: Installation) -> None:
    it.line.swallow()


def pass_on(it: Installation) -> None:
    it.line.turn(it.server.port)


def flush(it: Installation) -> None:
    with it.redis() as client:
        client.flushall()


def nothing(_: Installation) -> None:
    pass


def kill(it: Installation) -> None:
    it.server.kill()


def start_again(it: Installation) -> None:
    it.server.start_again()


def change_password(it: Installation) -> None:
    it.server.kill()
    it.server.password = "another"
    it.server.start_again()


def change_back(it: Installation) -> None:
    it.server.kill()
    it.server.password = PASSWORD
    it.server.start_again()


AWAY = "the broker does not answer"
FAULTS: dict[str, tuple[Callable[[Installation], None], Callable[[Installation], None], str]] = {
    "stopped": (stop, go_on, AWAY),
    "black hole": (swallow, pass_on, AWAY),
    "flushed": (flush, nothing, ""),
    "killed": (kill, start_again, AWAY),
    "another password": (change_password, change_back, "the broker rejects the username or password"),
}


def test_it_serves_in_time_and_works_on(installation: Installation) -> None:
    installation.start()
    for begin, end, degraded in FAULTS.values():
        installation.recover()
        begin(installation)
        try:
            installation.bear(degraded=degraded)
        finally:
            end(installation)
    installation.recover()
    log = installation.keeper.log.read_text()
    assert PASSWORD not in log
    assert "Traceback" not in log
    assert "DeprecationWarning" not in log
    assert "Redis rejects the username or password of REDIS_URL" in log


def test_it_starts_without_redis_and_finds_it_later(installation: Installation) -> None:
    installation.server.kill()
    keeper, openbao = installation.keeper, installation.openbao
    for each in (openbao, keeper):
        each.start()
    openbao.wait()
    keeper.until(lambda: accepts(keeper.port) and requests.get(keeper.url("/readyz"), timeout=30).ok)
    _, answer = installation.timed("/readyz")
    assert AWAY in answer.text
    keeper.prepare_running()
    installation.prepare()
    # The worker tries, and is not started again and again.
    (worker,) = keeper.processes()["worker"]
    time.sleep(5)
    assert keeper.processes()["worker"] == [worker]
    installation.server.start_again()
    installation.recover()
    assert keeper.processes()["worker"] == [worker]


class Planted:
    """What writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.write_text, (self._marker, "run")


def test_what_a_writer_to_redis_plants_is_neither_run_nor_believed(
    installation: Installation, tmp_path: Path
) -> None:
    installation.start()
    installation.recover()
    marker = tmp_path / "marker"
    code = pickle.dumps(Planted(marker))
    message = {
        "body": base64.b64encode(code).decode(),
        "content-encoding": "binary",
        "content-type": "application/x-python-serialize",
        "headers": {"task": "keeper_project.tasks.beat_heartbeat", "id": "planted", "lang": "py"},
        "properties": {
            "delivery_tag": "planted",
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "celery"},
        },
    }
    with installation.redis() as client:
        for plant in (code, json.dumps("2020-01-01T00:00:00+00:00").encode(), b"[" * 100_000, b"\xff"):
            for key in [":1:keeper:heartbeat", ":2:keeper:heartbeat"]:
                client.set(key, plant)
            for _ in range(20):
                _, answer = installation.timed("/readyz")
                assert answer.status_code == 200, answer.text
        client.lpush("celery", json.dumps(message))
    time.sleep(3)
    installation.recover()
    assert not marker.exists()
