"""`keeper status`: one screen, and an exit code for cron."""

import io
import json
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from environments_app.models import Alert
from environments_app.tests.cast import Cast
from operations_app.health.processes import beat
from operations_app.health.service import Result
from operations_app.management.commands import status

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """No check fails and no system ails, but for what a test says."""
    for name in ("results", "warnings", "probes"):
        monkeypatch.setattr(status, name, lambda: [Result(name="database", ok=True)])
    monkeypatch.setattr(status, "standings", lambda **_: [])


def run(*options: str) -> tuple[int, str]:
    output = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("status", *options, stdout=output)
    assert isinstance(ended.value.code, int)
    return ended.value.code, output.getvalue()


def document() -> tuple[int, dict[str, Any]]:
    code, text = run("--format", "json")
    return code, json.loads(text)


@pytest.mark.every_database
def test_a_healthy_keeper_exits_with_0(cast: Cast) -> None:
    code, found = document()

    assert (code, found["exit_code"], found["status"]) == (0, 0, "ok")
    assert "Alerts: none open" in run()[1]
    assert "Last backup: never" in run()[1]


def test_an_open_alert_needs_attention(cast: Cast) -> None:
    Alert.objects.create(kind="target-failed", about=cast.production.uuid, subject="s", lines=[])

    assert run()[0] == status.NEEDS_ATTENTION
    assert "target-failed, 1 open since" in run()[1]
    Alert.objects.update(open=None, closed_at=timezone.now())
    assert run()[0] == 0


def test_what_is_stuck_needs_attention(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "warnings", lambda: [Result(name="worker", ok=False, for_operators="none")])

    code, text = run()

    assert code == status.NEEDS_ATTENTION
    assert "  worker: none" in text
    assert "degraded" in text


def test_a_late_backup_needs_attention(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_BACKUP_INTERVAL_HOURS = 24

    code, text = run()

    assert code == status.NEEDS_ATTENTION
    assert "Last backup: never, which is late" in text


def test_a_queue_that_is_stuck_needs_attention(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = SimpleNamespace(label="Sync runs", waiting=2, working=0, stuck=1, stuck_words="wait too long")
    monkeypatch.setattr(status, "queues", lambda: [stuck])

    code, text = run()

    assert code == status.NEEDS_ATTENTION
    assert "Sync runs: 2 waiting, 0 in progress, 1 wait too long" in text


def test_a_keeper_that_cannot_serve_exits_with_2(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "results", lambda: [Result(name="database", ok=False, for_operators="away")])

    code, found = document()

    assert (code, found["status"]) == (status.CANNOT_SERVE, "cannot serve")


def test_it_shows_when_a_worker_last_worked(cast: Cast) -> None:
    beat()

    assert f"Worker: last scheduled task {timezone.now():%Y-%m-%d}" in run()[1]
