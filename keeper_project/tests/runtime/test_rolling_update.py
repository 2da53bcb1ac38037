"""While an update goes on, processes of the release before use the new schema: they read and write all the same.

So a release only adds: tables, columns that are nullable or have a default of the database, indexes. What it no
longer uses is taken away by the next one.
"""

import itertools
import json
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.apps import apps
from django.db import connection
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from operations_app.system.upgrade import RELEASES, database_operations, migrations_of, narrowing
from tests.operation.test_upgrade import Updated, before
from tests.processes import ROOT, commands_for_tokens, load
from tests.soak.keeper import Keeper, NotAnswered

__all__ = ["before"]

OURS = {"audit_app", "environments_app", "secrets_app", "sync_app", "keeper_project"}
# The load runs for a minute or more, most of it while one of the two starts.
ENOUGH = 20
PREVIOUS: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["keeper"]["previous"]


def later_operations() -> Iterator[tuple[str, Operation]]:
    """Yield what the migrations since the squashed ones do, with the app of each."""
    for (app, name), migration in MigrationLoader(None, ignore_no_migrations=True).disk_migrations.items():
        if app in OURS and "squashed" not in name:
            yield from ((app, operation) for operation in database_operations(migration))


def column_defaults(table: str) -> dict[str, bool]:
    """Return for each column of a table whether an INSERT may leave it out."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"PRAGMA table_info({table})")
            return {row[1]: not row[3] or row[4] is not None for row in cursor.fetchall()}
        cursor.execute(
            "SELECT COLUMN_NAME, IS_NULLABLE = 'YES' OR COLUMN_DEFAULT IS NOT NULL FROM information_schema.COLUMNS "
            "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s",
            [table],
        )
        return {name: bool(left_out) for name, left_out in cursor.fetchall()}


@pytest.mark.django_db
@pytest.mark.every_database
def test_an_insert_may_leave_out_each_column_that_was_added() -> None:
    models = {model._meta.label_lower: model for model in apps.get_models()}
    demanded, added = [], 0
    for app, operation in later_operations():
        if isinstance(operation, operations.AddField) and not operation.field.many_to_many:
            model = models[f"{app}.{operation.model_name_lower}"]._meta
            columns = {field.name: str(field.column) for field in model.concrete_fields}
            added += 1
            if not column_defaults(model.db_table)[columns[operation.name]]:
                demanded.append(f"{app}.{operation.model_name}.{operation.name}")
    assert added
    assert not demanded, "give them db_default, or let them be null"


def test_nothing_is_taken_away_that_the_release_before_names() -> None:
    """What only a release later may go: see CONTRIBUTING.md. `test_upgrade.py` shows that each kind is found."""
    assert PREVIOUS.startswith(RELEASES[-1].commit)
    loader = MigrationLoader(None, ignore_no_migrations=True)
    assert narrowing(loader, have=migrations_of(RELEASES[-1], loader)) == []


class Previous(Updated):
    """`keeper run` of the release before on its own installation."""

    def __init__(self, directory: Path, tree: Path, installation: Keeper) -> None:
        super().__init__(directory)
        self.tree, self.tokens = tree, installation.tokens
        self.variables = {**installation.variables, "PYTHONPATH": str(tree)}

    def command(self) -> list[str]:
        return ["env", "-C", str(self.tree), *super().command()[1:]]

    def ask(self, role: str, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
        """Ask the API, and again as it advises: this release hands on each deadlock of MariaDB."""
        try:
            return super().ask(role, method, path, body)
        except NotAnswered as error:
            if "Another change was being saved" not in str(error):
                raise
        return super().ask(role, method, path, body)

    def run(self, *arguments: str) -> str:
        command = [sys.executable, "-m", self.module, *arguments]
        done = subprocess.run(
            command,
            env={**os.environ, **self.variables},
            cwd=self.tree,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def previous_tree(tmp_path: Path) -> Path:
    """The files of the release before."""
    known = subprocess.run(["git", "cat-file", "-e", PREVIOUS], cwd=ROOT, capture_output=True, check=False)
    if known.returncode:
        pytest.skip("the history of this checkout lacks the release before: fetch all of it")
    archive, tree = tmp_path / "tree.tar", tmp_path / "tree"
    tree.mkdir()
    subprocess.run(["git", "archive", "-o", archive, PREVIOUS], cwd=ROOT, check=True)
    subprocess.run(["tar", "-x", "-f", archive, "-C", tree], check=True)
    return tree


class Load(threading.Thread):
    """A program that creates, reads, changes and lists secrets of whichever Keeper is in service, in turn."""

    def __init__(self, first: Keeper) -> None:
        super().__init__(daemon=True)
        self.in_service = [first]
        self.done, self.errors = 0, list[str]()
        self._ends = threading.Event()

    def run(self) -> None:
        while not self._ends.wait(0.1):
            try:
                self._once()
            except (AssertionError, NotAnswered) as error:
                self.errors.append(f"{type(error).__name__} {error}")

    def _once(self) -> None:
        number, self.done = self.done, self.done + 1
        keepers = itertools.cycle(list(self.in_service))
        new = {
            "environment_id": self._environment,
            "name": f"load/{number}",
            "secret_type": "TEXT",
            "value": "a",
        }
        status, made = next(keepers).ask("editor", "POST", "/api/secrets", new)
        assert status == 201, made
        path = f"/api/secrets/{made['id']}"
        status, changed = next(keepers).ask("editor", "PATCH", path, {"value": "b"})
        assert status == 200, changed
        assert next(keepers).ask("editor", "GET", path)[1]["value"] == "b"
        assert next(keepers).ask("editor", "GET", "/api/secrets?environment=development")[0] == 200

    @cached_property
    def _environment(self) -> object:
        return self.in_service[0].ask("editor", "GET", "/api/environments/development")[1]["id"]

    def use(self, *keepers: Keeper) -> None:
        """Ask these alone, once what was begun has ended: as a proxy does before one of them is stopped."""
        self.in_service = [*keepers]
        begun = self.done
        keepers[0].until(lambda: self.done > begun + 1)

    def end(self) -> None:
        """End it; every request was answered."""
        self._ends.set()
        self.join()
        assert self.errors == []


@pytest.mark.every_database
def test_an_update_and_the_way_back_under_load(previous_tree: Path, tmp_path: Path, before: Updated) -> None:
    if connection.vendor != "sqlite":
        load(urlsplit(before.variables["DATABASE_URL"]), (before.data / "keeper.sql").read_bytes())
    new, old = before, Previous(tmp_path / "old", previous_tree, before)
    old.run("activate", "--yes")
    new.tokens["manager"] = old.run(*commands_for_tokens("manager")[0]).strip()
    program = Load(old)
    try:
        old.start()
        old.until(old.ready)
        rotated = make_policy(old)
        program.start()
        # Before the update: the release before serves on, and the new one shows what waits.
        assert upgrade_of(new)["takes_away"] == []
        new.run("init-db")
        judge(old, old)
        rotate(old, rotated)
        new.start()
        new.until(new.ready)
        program.use(old, new)
        judge(old, new)
        judge(new, old)
        program.use(new)
        old.stop()
        rotate(new, rotated)
        # And back.
        old.start_again()
        program.use(old, new)
        judge(new, old)
        program.use(old)
        new.stop()
        rotate(old, rotated)
        program.end()
        assert program.done > ENOUGH
        new.run("checkpoint")
        assert ", 0 problems" in new.run("verify-audit")
    finally:
        old.stop()
        new.stop()


def upgrade_of(keeper: Keeper) -> Any:
    """Return what `keeper check-upgrade` shows."""
    command = [sys.executable, "-m", keeper.module, "check-upgrade", "--format", "json"]
    environment = {**os.environ, **keeper.variables}
    return json.loads(
        subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=False).stdout
    )


def make_policy(keeper: Keeper) -> str:
    """Make a secret whose value Keeper generates; return the path of its policy."""
    environment = keeper.ask("editor", "GET", "/api/environments/development")[1]["id"]
    body = {"environment_id": environment, "name": "rotated", "secret_type": "TEXT", "value": "first"}
    assert keeper.ask("editor", "POST", "/api/secrets", body)[0] == 201
    status, policy = keeper.ask(
        "manager", "POST", "/api/environments/development/rotation-policies",
        {"secret": "rotated", "rotator": "generated", "settings": {"kind": "password"}, "grace_seconds": 0},
    )  # fmt: skip
    assert status == 201, policy
    return f"/api/environments/development/rotation-policies/{policy['id']}"


def rotate(keeper: Keeper, policy: str) -> None:
    """Let the worker of a Keeper, the only one that runs, carry out a rotation."""
    last = keeper.ask("manager", "GET", policy)[1]["last_rotated_at"]
    status, answer = keeper.ask("manager", "POST", f"{policy}/rotate", {})
    assert status == 202, answer
    keeper.until(lambda: keeper.ask("manager", "GET", policy)[1]["last_rotated_at"] != last)


def judge(writer: Keeper, reader: Keeper) -> None:
    """Let one release write through its API, and the other read and change it."""
    name = f"update/{uuid4()}"
    environment = writer.ask("editor", "GET", "/api/environments/development")[1]["id"]
    body = {"environment_id": environment, "name": name, "secret_type": "TEXT", "value": "first"}
    status, made = writer.ask("editor", "POST", "/api/secrets", body)
    assert status == 201, made
    for program in (reader, writer):
        path = f"/api/secrets/{made['id']}"
        status, secret = program.ask("editor", "GET", path)
        assert (status, secret["value"]) == (200, "first"), secret
    status, changed = reader.ask("editor", "PATCH", path, {"value": "second"})
    assert status == 200, changed
    assert writer.ask("editor", "GET", path)[1]["value"] == "second"
    status, policy = writer.ask(
        "manager", "POST", "/api/environments/development/rotation-policies",
        {"secret": name, "rotator": "generated", "settings": {"kind": "password"}, "grace_seconds": 0},
    )  # fmt: skip
    assert status == 201, policy
    path = f"/api/environments/development/rotation-policies/{policy['id']}"
    assert reader.ask("manager", "GET", path)[0] == 200
