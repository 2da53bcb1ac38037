"""Among systems that drip a byte at a time, a running Keeper goes on with everything else."""

import json
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.jobs.request_limit import AT_ONCE as TESTS_AT_ONCE
from tests import hostile
from tests.operation.slow_systems import NAME, ROTATED, VALUE
from tests.processes import ROOT
from tests.served import Served, environment, issue_token, keeper
from tests.servers.fixtures import openbao

__all__ = ["openbao"]
# More than there are slots for what may take long.
SLOW = 8
WAIT_SECONDS = 300
# For what is due each second, on a machine that is busy with other things.
AT_ONCE = 60
# Vault's answer to sys/health or lookup-self, a byte at a time.
DRIP = hostile.HTTP["drips a body"]


@pytest.fixture
def vault(openbao: tuple[str, str]) -> VaultWorld:
    return VaultWorld(*openbao)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {
        "KEEPER_OUTBOUND_ALLOWED": "127.0.0.0/8",
        "KEEPER_OUTBOUND_SECONDS": "3",
        # So short that each run of a target that drips ends with its first attempt, or its second.
        "KEEPER_SYNC_RUN_SECONDS": "5",
        "ALLOWED_HOSTS": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, text)
    return tmp_path / "var"


def until(found: Callable[[], Any], *, seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def prepare(data: Path, given: dict[str, Any]) -> None:
    """Put what `tests.operation.slow_systems` makes into a running Keeper."""
    subprocess.run(
        [sys.executable, "-m", "tests.operation.slow_systems", json.dumps(given)],
        cwd=ROOT,
        env=environment(data) | {"DJANGO_SETTINGS_MODULE": "keeper_project.settings"},
        check=True,
    )


def rows(data: Path, statement: str) -> list[Any]:
    with sqlite3.connect(f"file:{data}/keeper.db?mode=ro", uri=True, timeout=60) as connection:
        return connection.execute(statement).fetchall()


def failed(data: Path) -> list[tuple[int, str]]:
    """Return of each failed run to a target that drips the target and the error."""
    return rows(
        data,
        "SELECT target.id, run.error FROM sync_app_run run JOIN sync_app_target target ON target.id = run.target_id "
        "WHERE run.state = 'failed' AND target.name LIKE 'slow-%'",
    )


def unhealthy(served: Served) -> set[str]:
    checks = json.loads(served.get("/readyz")[1])["checks"]
    return {check["name"] for check in checks if not check["ok"]}


def status(served: Served) -> str:
    said: str = json.loads(served.get("/readyz")[1])["status"]
    return said


def test_what_else_there_is_goes_on_beside_targets_that_drip(
    data: Path, vault: VaultWorld, schema: Path | None
) -> None:
    module = "keeper_project.tests.processes.frequent_heartbeat"
    with hostile.serving(DRIP) as slow, keeper(data, module=module, schema=schema) as served:
        answers = {"destination": vault.destination, "credentials": vault.credentials}
        given = {"answers": answers, "hostile": f"http://127.0.0.1:{slow.port}", "number": SLOW}
        try:
            until(lambda: status(served) == "ok")
        except AssertionError:
            raise AssertionError(served.get("/readyz")) from None
        prepare(data, given)
        until(lambda: rows(data, "SELECT 1 FROM sync_app_run WHERE state = 'done'"))
        assert vault.value(f"{vault.prefix}/{NAME}") == VALUE
        until(
            lambda: rows(
                data, f"SELECT 1 FROM secrets_app_secret WHERE name = '{ROTATED}' AND current_number > 1"
            )
        )
        assert status(served) == "ok"
        beats = (data / "heartbeat").stat().st_mtime
        until(lambda: len({target for target, _ in failed(data)}) == SLOW)
        until(lambda: (data / "heartbeat").stat().st_mtime > beats)
        assert status(served) == "ok"
        errors = {error for _, error in failed(data)}
        assert all(
            "there was no whole answer within 3 seconds" in each or "did not end" in each for each in errors
        )
    assert "Traceback" not in (data / "logs" / "keeper.log").read_text()


def test_the_heartbeat_and_checkpoints_go_on_while_everything_else_waits(
    data: Path, monkeypatch: pytest.MonkeyPatch, schema: Path | None
) -> None:
    with hostile.serving(DRIP) as slow, hostile.serving(hostile.GREETINGS["drips SMTP"]) as mail:
        address = f"http://127.0.0.1:{slow.port}"
        for name, text in {
            # Whoever waits waits for longer than the test takes.
            "KEEPER_OUTBOUND_SECONDS": "600",
            "KEEPER_SYNC_RUN_SECONDS": "600",
            "KEEPER_AUDIT_SINKS": f"file,{address}/checkpoints",
            "KEEPER_EVENT_SINKS": f"{address}/events",
            "KEEPER_ALERT_EMAILS": "ops@example.org",
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(mail.port),
            "EMAIL_USE_TLS": "false",
        }.items():
            monkeypatch.setenv(name, text)
        with keeper(
            data, module="keeper_project.tests.processes.frequent_heartbeat", schema=schema
        ) as served:
            until((data / "heartbeat").exists)
            prepare(data, {"answers": None, "hostile": address, "number": SLOW, "rotations": SLOW})
            # Two runs, a rotation and a sink of each kind hold the long slots, and the mail waits beside them.
            until(lambda: slow.connections >= 4)
            for _ in range(5):
                beats = (data / "heartbeat").stat().st_mtime
                until(lambda beats=beats: (data / "heartbeat").stat().st_mtime > beats, seconds=AT_ONCE)  # type: ignore[misc]
            until(lambda: mail.connections)
            signed = "SELECT COALESCE(MAX(number), 0) FROM audit_app_checkpoint"
            last = rows(data, signed)
            # Where nothing happened nothing is signed.
            issue_token(data)
            until(lambda: rows(data, signed) > last)
            assert (
                rows(data, "SELECT 1 FROM sync_app_run WHERE state != 'running' AND state != 'queued'") == []
            )
            # The check of the mail server says that it gives no whole answer.
            assert unhealthy(served) <= {"systems"}
            # Otherwise the worker would be stopped only when its patience with what it has begun is over.
            slow.leave()
            mail.leave()


def test_tests_of_a_system_that_drips_leave_threads_to_everybody_else(
    data: Path, monkeypatch: pytest.MonkeyPatch, schema: Path | None
) -> None:
    # Whoever waits does so until the system is gone.
    monkeypatch.setenv("KEEPER_OUTBOUND_SECONDS", "600")
    with keeper(data, "--no-worker", schema=schema) as served, hostile.serving(DRIP) as slow:
        wanted = ["--environment", "development", "--role", "manager", "--name", "test"]
        token = subprocess.run(
            [sys.executable, "-m", "keeper_project.runtime.cli", "issue-token", *wanted],
            cwd=ROOT,
            env=environment(data),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

        def test(_number: int) -> int:
            draft = {
                "backend": "vault_kv2",
                "destination": {"address": f"http://127.0.0.1:{slow.port}"},
                "credentials": {"token": "t"},
            }
            request = urllib.request.Request(
                f"http://127.0.0.1:{served.port}/api/environments/development/targets/test",
                data=json.dumps(draft).encode(),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )
            try:
                with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as reply:
                    return int(reply.status)
            except urllib.error.HTTPError as error:
                with error:
                    return error.code

        with ThreadPoolExecutor(8) as pool:
            tests = [pool.submit(test, number) for number in range(8)]
            try:
                until(
                    lambda: (
                        slow.connections >= TESTS_AT_ONCE
                        and sum(each.done() for each in tests) == 8 - TESTS_AT_ONCE
                    )
                )
                assert served.get("/healthz")[0] == 200
                assert served.get("/sign-in")[0] == 200
                assert [each.result() for each in tests if each.done()] == [429] * (8 - TESTS_AT_ONCE)
            finally:
                slow.leave()
            assert sorted(each.result() for each in tests) == [200] * TESTS_AT_ONCE + [429] * (
                8 - TESTS_AT_ONCE
            )
