"""A database and a backup that release 0.1.0 made go on.

`0.1.0-ENGINE.tar.xz` beside this module holds what its code stored (commit bcd02e23): something of each kind, the
keys, which open nothing else, and the backup of it.
"""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection

from tests.processes import load
from tests.servers.__main__ import installation
from tests.soak.keeper import Keeper


class Updated(Keeper):
    """`keeper run` on an installation that is there."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.data = directory / "var"
        self.variables |= installation(self.data)

    def prepare(self) -> None:
        """Do nothing."""


@pytest.fixture
def before(tmp_path: Path) -> Iterator[Keeper]:
    """An installation of release 0.1.0, whose rows are not loaded yet where the suite runs on MariaDB."""
    keeper = Updated(tmp_path)
    keeper.data.mkdir(mode=0o700)
    name = "sqlite" if connection.vendor == "sqlite" else "mariadb"
    with tarfile.open(Path(__file__).with_name(f"0.1.0-{name}.tar.xz")) as archive:
        archive.extractall(keeper.data, filter="data")
    keeper.tokens["editor"] = (keeper.data / "token").read_text()
    if name == "sqlite":
        yield keeper
        return
    server = urlsplit(os.environ["KEEPER_TEST_MARIADB_URL"])
    database = f"upgrade_{os.getpid()}"
    load(server, f"CREATE DATABASE {database} CHARACTER SET utf8mb4".encode())
    keeper.variables["DATABASE_URL"] = server._replace(path=f"/{database}").geturl()
    try:
        yield keeper
    finally:
        load(server, f"DROP DATABASE {database}".encode())


@pytest.mark.every_database
def test_a_database_of_the_release_before_is_updated_and_used(before: Keeper) -> None:
    if connection.vendor != "sqlite":
        load(urlsplit(before.variables["DATABASE_URL"]), (before.data / "keeper.sql").read_bytes())
    before.run("init-db")
    # Where it is now it acts only when told so.
    before.run("activate", "--yes")
    judge(before)


@pytest.mark.every_database
def test_a_backup_of_the_release_before_is_proved_restored_and_used(before: Keeper) -> None:
    (before.data / "keeper.db").unlink(missing_ok=True)
    file = str(before.data / "made.kbk")
    assert "genuine, and what it holds is sound" in before.run("restore", file, "--verify")
    before.run("restore", file)
    before.run("activate", "--yes")
    kind, uuid = next(
        line.split()[:2] for line in before.run("release").splitlines() if ": upgrade (" in line
    )
    before.run("release", kind, uuid)
    judge(before)


def judge(keeper: Keeper) -> None:
    """Verify all that the release before wrote, read a value and its history, and write another."""
    keeper.run("checkpoint")
    assert ", 0 problems" in keeper.run("verify-audit")
    try:
        keeper.start()
        keeper.until(keeper.is_ready)
        status, page = keeper.ask("editor", "GET", "/api/secrets?environment=development")
        assert status == 200, page
        secrets: Any = page["results"]
        path = f"/api/secrets/{next(each['id'] for each in secrets if each['name'] == 'payments/key')}"
        status, secret = keeper.ask("editor", "GET", path)
        assert (status, secret["value"], secret["version"]) == (200, "the second value of it", 2)
        new = {
            "environment_id": secret["environment_id"],
            "name": "new",
            "secret_type": "TEXT",
            "value": "new",
        }
        assert keeper.ask("editor", "POST", "/api/secrets", new)[0] == 201
        assert ", 0 problems" in keeper.run("verify-audit")
    finally:
        keeper.stop()
