"""What an update takes away from processes of the release before, and from which release a database is."""

from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder

from operations_app.health.schema import installed_version
from operations_app.system import upgrade
from operations_app.system.upgrade import RELEASES, migrations_of, narrowing, release_of_database, too_old

LEAF = ("keeper_project", "0005_running_processes")


def beyond(*operations: Operation) -> list[str]:
    """Return what a further migration with these operations takes away from this release."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    have = set(loader.graph.nodes)
    leaf = next(leaf for leaf in loader.graph.leaf_nodes() if leaf[0] == "keeper_project")
    kind = type("Further", (Migration,), {"dependencies": [leaf], "operations": [*operations]})
    further = kind("9999_further", "keeper_project")
    key = (further.app_label, further.name)
    loader.disk_migrations[key] = further
    loader.graph.add_node(key, further)
    loader.graph.add_dependency(further, key, leaf)
    return narrowing(loader, have=have)


MODEL = "runningprocess"
SHORT: "models.Field[Any, Any]" = models.CharField(max_length=10)
ONE = models.UniqueConstraint(fields=["host"], name="one_a_host")


@pytest.mark.parametrize(
    ("operation", "sentence"),
    [
        (migrations.RemoveField(MODEL, "host"), "takes away keeper_project.RunningProcess.host"),
        (migrations.RenameField(MODEL, "host", "place"), "takes away keeper_project.RunningProcess.host"),
        (migrations.DeleteModel("RunningProcess"), "takes away the table of keeper_project.RunningProcess"),
        (migrations.AlterModelTable(MODEL, "other"), "takes away the table of keeper_project.runningprocess"),
        (migrations.RenameModel("RunningProcess", "Program"), "renames keeper_project.RunningProcess"),
        (migrations.RunSQL("DROP TABLE a"), "runs SQL that is not marked with hints={'only_adds': True}"),
        (migrations.AddField(MODEL, "note", SHORT), "RunningProcess.note must be given"),
        (
            migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField(MODEL, "host")]),
            "RunningProcess.host is no longer given",
        ),
        (
            migrations.AlterField("externalsystem", "checked_at", models.DateTimeField()),
            "no longer takes NULL",
        ),
        (migrations.AlterField(MODEL, "kind", SHORT), "kind takes 10 characters instead of 16"),
        (
            migrations.AlterField(MODEL, "kind", models.IntegerField()),
            "is a IntegerField instead of a CharField",
        ),
        (
            migrations.AlterField(MODEL, "kind", models.CharField(max_length=16, unique=True)),
            "kind no longer takes a value twice",
        ),
        (
            migrations.AlterField(MODEL, "kind", models.CharField(max_length=16, db_column="sort")),
            "kind has another column",
        ),
        (migrations.AddConstraint(MODEL, ONE), "RunningProcess is newly constrained by one_a_host"),
    ],
    ids=lambda each: None if isinstance(each, str) else type(each).__name__,
)
def test_what_narrows_is_named(operation: Operation, sentence: str) -> None:
    assert any(sentence in each for each in beyond(operation)), beyond(operation)


@pytest.mark.parametrize(
    "operation",
    [
        migrations.AddField(MODEL, "note", models.CharField(max_length=10, db_default="")),
        migrations.AddField(MODEL, "note", models.CharField(max_length=10, null=True)),
        migrations.CreateModel("Other", [("id", models.BigAutoField(primary_key=True)), ("text", SHORT)]),
        migrations.AlterField(MODEL, "kind", models.CharField(max_length=17)),
        migrations.AlterField(MODEL, "kind", models.TextField()),
        migrations.AddIndex(MODEL, models.Index(fields=["host"], name="by_host")),
        migrations.RunSQL("CREATE INDEX a ON b (c)", hints={"only_adds": True}),
        migrations.RunPython(migrations.RunPython.noop),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_only_adds_is_not(operation: Operation) -> None:
    assert beyond(operation) == []


def test_a_column_that_the_release_before_no_longer_names_may_go() -> None:
    drop = migrations.RunSQL("ALTER TABLE a DROP COLUMN b", hints={"only_adds": True})
    add = migrations.AddField(MODEL, "note", models.CharField(max_length=10, null=True))
    assert beyond(add, migrations.RemoveField(MODEL, "note"), drop) == []


def test_the_last_release_is_one_whose_migrations_are_here() -> None:
    loader = MigrationLoader(None, ignore_no_migrations=True)
    for release in RELEASES:
        assert loader.disk_migrations.keys() >= set(release.migrations.items())
        assert ("keeper_project", "0005_running_processes") not in migrations_of(RELEASES[0], loader)


@pytest.mark.django_db
@pytest.mark.every_database
def test_a_database_is_of_the_release_whose_migrations_it_has() -> None:
    recorded = MigrationRecorder.Migration.objects
    assert release_of_database() == installed_version()
    recorded.filter(app=LEAF[0], name=LEAF[1]).delete()
    assert release_of_database() == RELEASES[-1].version
    recorded.filter(app="sync_app", name="0007_tags").delete()
    assert release_of_database() == "a commit before 0.1.0"
    recorded.create(app="sync_app", name="9999_later")
    assert release_of_database() == upgrade.LATER


@pytest.mark.django_db
def test_a_part_of_a_squashed_history_names_the_commit_to_go_through() -> None:
    recorded = MigrationRecorder.Migration.objects
    assert too_old() == ""
    recorded.filter(app="sync_app", name__startswith="0001").delete()
    recorded.filter(app="sync_app", name__startswith="0010_versions").delete()
    recorded.get_or_create(app="sync_app", name="0001_initial")
    assert "Update it with commit 4acfd67f first" in too_old()
