"""`keeper reset-db` asks before it destroys, and leaves a Keeper that works."""

import os
import sqlite3
import subprocess
import sys
from io import StringIO
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from keeper_project.management.commands import reset_db
from operations_app.management import confirmation
from tests.processes import begin_on, copy_schema

ROOT = Path(__file__).resolve().parents[4]
ON_SQLITE = settings.DATABASES["default"]["ENGINE"].endswith("sqlite3")


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Stand in for the destruction, which the tests' own database must survive."""
    stand_in = Mock()
    monkeypatch.setattr(reset_db, "drop_all_tables", stand_in)
    for module in (reset_db, confirmation):
        monkeypatch.setattr(module, "database_name", lambda: "kept.db")
    return stand_in


def reset(monkeypatch: pytest.MonkeyPatch, answer: str | None, *arguments: str) -> str:
    out = StringIO()

    def typed(_prompt: str) -> str:
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", typed)
    call_command("reset_db", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("answer", [None, "", "y", "yes", "kept", "KEPT.DB"])
@pytest.mark.django_db
def test_it_destroys_nothing_without_the_databases_name(
    monkeypatch: pytest.MonkeyPatch, dropped: Mock, answer: str | None
) -> None:
    with pytest.raises(CommandError, match="Nothing was changed"):
        reset(monkeypatch, answer)
    dropped.assert_not_called()


@pytest.mark.django_db
def test_it_says_what_it_destroys_and_begins_again(monkeypatch: pytest.MonkeyPatch, dropped: Mock) -> None:
    out = reset(monkeypatch, "kept.db")
    dropped.assert_called_once_with()
    assert "destroys every secret, user and event in the database kept.db, for good" in out
    assert "Keeper is initialised." in out


@pytest.mark.django_db
def test_it_does_not_ask_scripts(monkeypatch: pytest.MonkeyPatch, dropped: Mock) -> None:
    reset(monkeypatch, None, "--yes")
    dropped.assert_called_once_with()


# --- The destruction itself: in processes and databases of its own ---------------------------


def keeper(data: Path, url: str, *command: str, answer: str = "") -> None:
    environment = {**os.environ, "KEEPER_DATA_DIR": str(data), "DATABASE_URL": url}
    program = [sys.executable, "-m", "keeper_project.runtime.cli", *command]
    done = subprocess.run(
        program, cwd=ROOT, env=environment, input=answer, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not ON_SQLITE, reason="the test below is MariaDB's")
def test_nothing_survives_on_sqlite(tmp_path: Path, schema: Path | None) -> None:
    begin_on(schema, tmp_path / "var")
    path = tmp_path / "var" / "keeper.db"
    url = f"sqlite:///{path}"

    def deployments() -> list[tuple[str]]:
        connection = sqlite3.connect(path)
        rows = connection.execute("SELECT uuid FROM audit_app_deployment").fetchall()
        connection.close()
        return rows

    keeper(path.parent, url, "init-db")
    before = deployments()
    keeper(path.parent, url, "reset-db", answer="keeper.db\n")
    assert len(before) == len(deployments()) == 1
    assert before != deployments()
    keeper(path.parent, url, "verify-audit")


@pytest.mark.every_database
@pytest.mark.skipif(ON_SQLITE, reason="the test above is SQLite's")
def test_nothing_survives_on_mariadb(tmp_path: Path, schema: Path | None) -> None:
    import MySQLdb

    server = settings.DATABASES["default"]
    name = f"reset_{uuid4().hex[:12]}"
    url = f"mysql://{server['USER']}@{server['HOST']}:{server['PORT']}/{name}"
    connection = MySQLdb.connect(host=server["HOST"], port=int(server["PORT"]), user=server["USER"])
    cursor = connection.cursor()
    cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    try:
        copy_schema(urlsplit(url))
        keeper(tmp_path, url, "init-db")
        keeper(tmp_path, url, "reset-db", answer=f"{name}\n")
        keeper(tmp_path, url, "verify-audit")
        cursor.execute(f"SELECT count(*) FROM {name}.environments_app_user")
        assert cursor.fetchone() == (1,)
    finally:
        cursor.execute(f"DROP DATABASE {name}")
        connection.close()
