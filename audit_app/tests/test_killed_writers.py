"""Writers are killed at any moment: no fork, no gap, and no event is lost that was answered."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from tests.processes import ROOT
from tests.servers.__main__ import installation
from tests.servers.mariadb import MariaDb

SEED = 20_261


@pytest.fixture
def migrated(tmp_path: Path, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> str:
    """The URL of a database with the suite's own schema, which is copied faster than migrated."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(tmp_path / "keeper.db")])
    return f"sqlite:///{tmp_path / 'keeper.db'}"


def judge(folder: Path, url: str, *, writers: int, kills: int, database: MariaDb | None = None) -> None:
    """Let writers be killed, and the database as often as is asked for; then nothing answered is lost."""
    database_kills = 1 + kills // 60 if database else 0
    variables = {
        **os.environ,
        **installation(folder),
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
        "KEEPER_LOG_FILE": "-",
    }
    program = [sys.executable, "-m", "audit_app.tests.writers"]
    command = [*program, *map(str, (writers, kills, SEED, database_kills))]
    killed, last = 0, ""
    with (
        (folder / "errors").open("w") as errors,
        subprocess.Popen(
            command, env=variables, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            last = line
            if database and line == "database\n":
                database.kill()
                database.start_again()
                killed += 1
    assert process.returncode == 0, (folder / "errors").read_text()[-3000:]
    found = json.loads(last)
    assert (found["problems"], found["lost"], found["gaps"]) == ([], 0, 0)
    assert found["answered"] > kills
    assert killed == database_kills


LONG = pytest.param(32, 300, marks=pytest.mark.torture)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="it copies a file of SQLite")
@pytest.mark.parametrize(("writers", "kills"), [(3, 6), LONG], ids=["short", "long"])
def test_killed_writers_leave_a_sound_trail(tmp_path: Path, migrated: str, writers: int, kills: int) -> None:
    judge(tmp_path, migrated, writers=writers, kills=kills)


@pytest.mark.every_database
@pytest.mark.skipif(connection.vendor != "mysql", reason="SQLite has no server to kill")
@pytest.mark.parametrize(("writers", "kills"), [(3, 6), LONG], ids=["short", "long"])
def test_a_killed_database_and_killed_writers_leave_a_sound_trail(
    tmp_path: Path, copied: tuple[MariaDb, str], writers: int, kills: int
) -> None:
    database, url = copied
    judge(tmp_path, url, writers=writers, kills=kills, database=database)


@pytest.fixture
def copied(
    tmp_path: Path, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[tuple[MariaDb, str]]:
    """A MariaDB of the test's own, which it may kill, with the suite's own schema."""
    import MySQLdb

    database = MariaDb(tmp_path / "server")
    database.start()
    try:
        database.wait()
        made = MySQLdb.connect(host="127.0.0.1", port=database.port, user="root", database="keeper")
        with django_db_blocker.unblock(), connection.cursor() as cursor, closing(made):
            there = made.cursor()
            there.execute("SET foreign_key_checks = 0")
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"SHOW CREATE TABLE {connection.ops.quote_name(table)}")
                there.execute(cursor.fetchone()[1])
        yield database, database.environment()["KEEPER_TEST_MARIADB_URL"]
    finally:
        database.stop()
