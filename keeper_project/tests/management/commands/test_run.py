"""`keeper run` serves a working Keeper, really, and a second start keeps what was there."""

import json
import re
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

from gateway_app.engine import client
from keeper_project.celery import app
from keeper_project.management.commands import run as command
from tests.processes import ROOT
from tests.served import START_SECONDS, environment, issue_token, keeper

# Of a token: 32 bytes in base64url, which has underscores as well.
SECRET_LENGTH = 43


def test_it_serves_and_keeps_what_was_there(tmp_path: Path) -> None:
    data = tmp_path / "var"
    with keeper(data) as first:
        assert first.get("/healthz") == (200, b'{"status": "ok"}')
        status, body = first.get("/readyz")
        assert status == 200, body
        printed = first.output.read_text()
        assert f"http://localhost:{first.port}" in printed
        assert "Sign in as admin\n" in printed
        password = re.findall(r"Password, shown once: (\S+)", printed)
        assert len(password) == 1
        token = issue_token(data)
        status, body = first.get("/api/environments", token)
        assert status == 200, body
        assert [row["name"] for row in json.loads(body)["results"]] == ["development"]
        assert first.get("/api/environments")[0] == 401
        take_the_tour(first.port, data)
        wait_for_heartbeat(data)
        assert first.stop() == 0
    logged = (data / "logs" / "keeper.log").read_text()
    assert password[0] not in logged
    assert token[-SECRET_LENGTH:] not in logged + first.output.read_text()
    with keeper(data, "--no-worker") as second:
        assert "shown once" not in second.output.read_text()
        assert second.get("/api/environments", token)[0] == 200
        assert second.stop() == 0


def take_the_tour(port: int, data: Path) -> None:
    """Run what docs/tour.md shows, line by line, against the running Keeper."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "docs/tour.md").read_text(), re.DOTALL)
    script = "\n".join(block for block in blocks if "keeper $API" in block or "TOKEN=" in block)
    assert script.count("keeper ") > 10
    script = script.replace("localhost:8989", f"127.0.0.1:{port}")
    script = script.replace(".venv/bin/keeper", f"{sys.executable} -m keeper_project.runtime.cli")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("curl -sS", "curl -sS --fail-with-body")],
        cwd=ROOT,
        env=environment(data),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "s3cr3t-value-2" not in (data / "logs" / "keeper.log").read_text()
    assert "BILLING_API_KEY=s3cr3t-value" in done.stdout
    assert done.stdout.strip().endswith("0 problems")


def wait_for_heartbeat(data: Path) -> None:
    """Wait until beat sent a task and the worker did it."""
    deadline = time.monotonic() + START_SECONDS
    while not (data / "heartbeat").exists():
        assert time.monotonic() < deadline, "the worker never carried out a task"
        time.sleep(0.2)


def test_it_says_that_a_broker_does_not_answer_and_starts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEEPER_EMBEDDED_WORKER = False
    monkeypatch.setattr(app.conf, "broker_write_url", "redis://127.0.0.1:9/0")
    out = StringIO()
    command.Command(stdout=out)._announce_broker()
    assert out.getvalue().startswith("Background work waits: the broker does not answer. Check REDIS_URL")


@pytest.mark.parametrize("password", ["a long enough pass phrase", ""])
def test_a_given_password_is_not_printed_but_its_account_is(settings: Settings, password: str) -> None:
    settings.KEEPER_ADMIN_USERNAME, settings.KEEPER_ADMIN_PASSWORD = "root", password
    out = StringIO()
    command.Command(stdout=out)._announce_given_password()
    told = "Sign in as root with the password in KEEPER_ADMIN_PASSWORD\n"
    assert out.getvalue() == (told if password else "")


# --- What it refuses and decides before it serves --------------------------------------------


@pytest.mark.parametrize(("host", "backend"), [("0.0.0.0", "local"), ("127.0.0.1", "kms")])
def test_it_refuses_debug_where_it_would_show_values(settings: Settings, host: str, backend: str) -> None:
    settings.KEY_MANAGEMENT_BACKEND = backend
    with pytest.raises(CommandError, match="--debug shows local variables"):
        call_command("run", host=host, debug=True, skip_checks=True)


SERVING = ["read engine", "web server"]


def test_it_starts_no_worker_where_there_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    doors: list[Any] = []
    monkeypatch.setattr(client, "_doors", doors)
    options = {"workers": 1, "no_worker": True}
    assert [child.name for child in command._children("127.0.0.1", 1, options)] == SERVING
    options["no_worker"] = False
    assert [child.name for child in command._children("127.0.0.1", 1, options)] == [*SERVING, "worker"]
    (door,) = doors
    door.engine.close()
    door.web.close()


@pytest.mark.parametrize(
    ("name", "value"), [("KEEPER_TRUSTED_PROXIES", ["127.0.0.1"]), ("ALLOWED_HOSTS", ["keeper.example.com"])]
)
def test_it_refuses_debug_where_a_proxy_lets_others_in(settings: Settings, name: str, value: object) -> None:
    setattr(settings, name, value)
    with pytest.raises(CommandError, match="for this machine alone"):
        call_command("run", "--debug")
