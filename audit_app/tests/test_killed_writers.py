"""Writers are killed at any moment: no fork, no gap, and no event is lost that was answered."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from tests.processes import ROOT
from tests.servers.__main__ import installation

SEED = 20_261


@pytest.fixture
def migrated(tmp_path: Path, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> str:
    """The URL of a database with the suite's own schema, which is copied faster than migrated."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(tmp_path / "keeper.db")])
    return f"sqlite:///{tmp_path / 'keeper.db'}"


def command(writers: int, kills: int) -> list[str]:
    return [sys.executable, "-m", "audit_app.tests.writers", str(writers), str(kills), str(SEED)]


def variables(folder: Path, url: str) -> dict[str, str]:
    return {
        **os.environ,
        **installation(folder),
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
        "KEEPER_LOG_FILE": "-",
    }


def judged(output: str, kills: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert (found["problems"], found["lost"], found["gaps"]) == ([], 0, 0)
    assert found["answered"] > kills
    return found


@pytest.mark.skipif(connection.vendor != "sqlite", reason="it copies a file of SQLite")
@pytest.mark.parametrize(
    ("writers", "kills"), [(3, 6), pytest.param(32, 300, marks=pytest.mark.torture)], ids=["short", "long"]
)
def test_killed_writers_leave_a_sound_trail(tmp_path: Path, migrated: str, writers: int, kills: int) -> None:
    done = subprocess.run(
        command(writers, kills),
        env=variables(tmp_path, migrated),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    judged(done.stdout, kills)
