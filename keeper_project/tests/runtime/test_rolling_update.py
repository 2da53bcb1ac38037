"""While an update goes on, processes of the release before use the new schema: they read and write all the same.

So a release only adds: tables, columns that are nullable or have a default of the database, indexes. What it no
longer uses is taken away by the next one.
"""

import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from django.apps import apps
from django.db import connection
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from tests.processes import ROOT, database
from tests.servers.server import accepts
from tests.soak.keeper import Keeper

__all__ = ["database"]

OURS = {"audit_app", "environments_app", "secrets_app", "sync_app", "keeper_project"}
# What the release before still names.
TAKES_AWAY = (operations.RemoveField, operations.RenameField, operations.DeleteModel, operations.RenameModel)
PREVIOUS: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["keeper"]["previous"]


def later_operations() -> Iterator[tuple[str, Operation]]:
    """Yield what the migrations since the squashed ones do, with the app of each."""
    for (app, name), migration in MigrationLoader(None, ignore_no_migrations=True).disk_migrations.items():
        if app in OURS and "squashed" not in name:
            for operation in migration.operations:
                if isinstance(operation, operations.SeparateDatabaseAndState):
                    yield from ((app, each) for each in operation.database_operations)
                else:
                    yield app, operation


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
    assert [type(each).__name__ for _, each in later_operations() if isinstance(each, TAKES_AWAY)] == []


class Previous(Keeper):
    """`keeper run` of the release before, without a worker, on an installation of this one."""

    def __init__(self, directory: Path, tree: Path, new: Keeper) -> None:
        super().__init__(directory)
        self.variables = {**new.variables, "PYTHONPATH": str(tree)}

    def command(self) -> list[str]:
        return ["env", "-C", self.variables["PYTHONPATH"], *super().command()[1:], "--no-worker"]

    def prepare(self) -> None:
        """Do nothing: the installation is there."""

    def ready(self) -> bool:
        return accepts(self.port) and requests.get(self.url("/readyz"), timeout=30).status_code == 200


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


@pytest.mark.every_database
def test_the_release_before_reads_and_writes_on_this_schema(
    previous_tree: Path, tmp_path: Path, database: str
) -> None:
    new = Keeper(tmp_path)
    new.variables["DATABASE_URL"] = database
    old = Previous(tmp_path / "old", previous_tree, new)
    try:
        new.start()
        new.wait()
        old.tokens = new.tokens
        old.start()
        old.until(old.ready)
        judge(old, new)
        judge(new, old)
    finally:
        old.stop()
        new.stop()


def judge(writer: Keeper, reader: Keeper) -> None:
    """Let one release write through its API, and the other read and change it."""
    name = f"update/{writer.port}"
    environment = writer.ask("editor", "GET", "/api/environments/development")[1]["id"]
    body = {"environment_id": environment, "name": name, "secret_type": "TEXT", "value": "first"}
    status, made = writer.ask("editor", "POST", "/api/secrets", body)
    assert status == 201, made
    for program in (reader, writer):
        path = f"/api/secrets/{made['id']}"
        status, secret = program.ask("reader", "GET", path)
        assert (status, secret["value"]) == (200, "first"), secret
    status, changed = reader.ask("editor", "PATCH", path, {"value": "second"})
    assert status == 200, changed
    assert writer.ask("reader", "GET", path)[1]["value"] == "second"
    status, policy = writer.ask(
        "manager", "POST", "/api/environments/development/rotation-policies",
        {"secret": name, "rotator": "generated", "settings": {"kind": "password"}, "grace_seconds": 0},
    )  # fmt: skip
    assert status == 201, policy
    path = f"/api/environments/development/rotation-policies/{policy['id']}"
    assert reader.ask("manager", "GET", path)[0] == 200
