"""The heartbeat lies where every process sees it, and each process stores that it runs."""

import os
import socket
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from operations_app.health import running as running_processes
from operations_app.health.processes import beat, last_beat
from operations_app.health.running import WEB, note_running, running
from operations_app.models import RunningProcess


def test_it_is_a_file_without_redis(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path
    assert last_beat() is None
    before = timezone.now()
    beat()
    noted = last_beat()
    assert noted is not None
    assert before <= noted <= timezone.now()
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat"]


def test_it_is_in_the_cache_with_redis(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path
    settings.REDIS_URL = "redis://shared"
    assert last_beat() is None
    beat()
    assert last_beat() is not None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.django_db
@pytest.mark.every_database
def test_a_process_is_one_row_with_its_release(monkeypatch: pytest.MonkeyPatch) -> None:
    note_running(WEB)
    monkeypatch.setattr(running_processes, "installed_version", lambda: "9.9.9")
    note_running(WEB)

    (row,) = running()

    assert (row.kind, row.host, row.release) == (WEB, socket.gethostname(), "9.9.9")
    assert str(row) == f"web {socket.gethostname()} {os.getpid()}"


@pytest.mark.django_db
@pytest.mark.parametrize(("age", "is_running"), [(60, True), (120, False), (-120, False)])
def test_a_process_that_was_not_seen_lately_does_not_run(age: int, *, is_running: bool) -> None:
    note_running(WEB)
    row = RunningProcess.objects.get()
    RunningProcess.objects.update(seen_at=row.seen_at - timedelta(seconds=age))

    assert bool(running()) is is_running


@pytest.mark.django_db
def test_a_process_that_is_gone_for_a_day_is_forgotten() -> None:
    note_running(WEB)
    RunningProcess.objects.update(
        name="web gone 1", seen_at=RunningProcess.objects.get().seen_at - timedelta(days=1, seconds=5)
    )

    note_running(WEB)

    assert [row.name for row in RunningProcess.objects.all()] == [f"web {socket.gethostname()} {os.getpid()}"]
