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
import time
import tomllib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import Mock
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


def answer(
    keeper: Keeper, role: str, method: str, path: str, body: object = None, *, status: int = 200
) -> dict[str, Any]:
    """Return the document of an answer; a failure names what was answered, and the process that was asked."""
    try:
        answered, document = keeper.ask(role, method, path, body)
    except NotAnswered as error:
        raise NotAnswered(f"{named(keeper)}: {method} {path}: {error}") from error
    assert answered == status, f"{named(keeper)}: {method} {path}: {answered} {document}"
    return document


def require_value(keeper: Keeper, path: str, value: str) -> None:
    secret = answer(keeper, "editor", "GET", path)
    assert secret["value"] == value, f"{named(keeper)}: GET {path}: {secret}"


def named(keeper: Keeper) -> str:
    """Return which release a Keeper is of, with its port and processes."""
    release = "the release before" if isinstance(keeper, Previous) else "this release"
    return f"{release} on port {keeper.port}, processes {keeper.processes()}"


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
        made = answer(next(keepers), "editor", "POST", "/api/secrets", new, status=201)
        path = f"/api/secrets/{made['id']}"
        answer(next(keepers), "editor", "PATCH", path, {"value": "b"})
        require_value(next(keepers), path, "b")
        answer(next(keepers), "editor", "GET", "/api/secrets?environment=development")

    @cached_property
    def _environment(self) -> object:
        return answer(self.in_service[0], "editor", "GET", "/api/environments/development")["id"]

    def use(self, *keepers: Keeper) -> None:
        """Ask these alone, once what was begun has ended: as a proxy does before one of them is stopped."""
        self.in_service = [*keepers]
        begun = self.done
        keepers[0].until(lambda: self.done > begun + 1)

    def end(self) -> None:
        """End it; every request was answered."""
        self._ends.set()
        self.join()
        assert not self.errors, "\n".join(self.errors)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"return_value": (409, {"detail": "changed since"})}, r"GET /x: 409 .*changed since"),
        ({"side_effect": NotAnswered("GET /x: 503 later")}, r"503 later"),
        ({"side_effect": NotAnswered("ReadTimeout")}, r"GET /x: ReadTimeout"),
    ],
)
def test_a_failure_under_load_names_the_answer_and_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], named: str
) -> None:
    keeper = Updated(tmp_path)
    monkeypatch.setattr(keeper, "ask", Mock(**asked))
    program = Load(keeper)
    monkeypatch.setattr(program, "_once", lambda: answer(keeper, "editor", "GET", "/x"))
    program.start()
    while not program.errors:
        time.sleep(0.01)
    with pytest.raises(AssertionError, match=rf"this release on port {keeper.port}, processes .*: .*{named}"):
        program.end()


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
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def make_policy(keeper: Keeper) -> str:
    """Make a secret whose value Keeper generates; return the path of its policy."""
    make_secret(keeper, "rotated")
    return make_policy_for(keeper, "rotated")


def make_secret(keeper: Keeper, name: str) -> str:
    """Make a secret with the value "first"; return its path."""
    environment = answer(keeper, "editor", "GET", "/api/environments/development")["id"]
    body = {"environment_id": environment, "name": name, "secret_type": "TEXT", "value": "first"}
    made = answer(keeper, "editor", "POST", "/api/secrets", body, status=201)
    return f"/api/secrets/{made['id']}"


def make_policy_for(keeper: Keeper, secret: str) -> str:
    """Let Keeper generate the values of a secret; return the path of the policy."""
    place = "/api/environments/development/rotation-policies"
    settings = {"rotator": "generated", "settings": {"kind": "password"}, "grace_seconds": 0}
    policy = answer(keeper, "manager", "POST", place, {"secret": secret, **settings}, status=201)
    return f"{place}/{policy['id']}"


def rotate(keeper: Keeper, policy: str) -> None:
    """Let the worker of a Keeper, the only one that runs, carry out a rotation."""
    last = answer(keeper, "manager", "GET", policy)["last_rotated_at"]
    answer(keeper, "manager", "POST", f"{policy}/rotate", {}, status=202)
    keeper.until(lambda: answer(keeper, "manager", "GET", policy)["last_rotated_at"] != last)


def judge(writer: Keeper, reader: Keeper) -> None:
    """Let one release write through its API, and the other read and change it."""
    name = f"update/{uuid4()}"
    path = make_secret(writer, name)
    for program in (reader, writer):
        require_value(program, path, "first")
    answer(reader, "editor", "PATCH", path, {"value": "second"})
    require_value(writer, path, "second")
    answer(reader, "manager", "GET", make_policy_for(writer, name))
