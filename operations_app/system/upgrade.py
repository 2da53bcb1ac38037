"""An update of the database: which release it is of, which migrations wait, and whether these only add.

While an update goes on, processes of the release before use the new schema. So what a release adds can be
left out of an INSERT, and what it no longer uses is taken away one release later (CONTRIBUTING.md).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection, models
from django.db.migrations import Migration, operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import NOT_PROVIDED

from operations_app.health.schema import installed_version, later_migrations, missing_migrations

Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release before this one: its version, its commit, and the last migration of each app."""

    version: str
    commit: str
    migrations: Mapping[str, str]


# The oldest first. The last one is `tool.keeper.previous` of pyproject.toml.
RELEASES: Final = (
    Release(
        version="0.1.0",
        commit="bcd02e23",
        migrations={
            "audit_app": "0012_manifest_of_few",
            "environments_app": "0028_several_approvals",
            "keeper_project": "0004_scheduled_tasks",
            "secrets_app": "0021_tags",
            "sync_app": "0007_tags",
        },
    ),
)
# The last commit with the migrations that the squashed ones replace; it applies all of them.
THROUGH: Final = "4acfd67f"
LATER: Final = "later than this one"
# A column takes at least what it took before.
_WIDER: Final = frozenset(
    {
        ("CharField", "TextField"),
        ("IntegerField", "BigIntegerField"),
        ("PositiveSmallIntegerField", "PositiveIntegerField"),
        ("PositiveIntegerField", "PositiveBigIntegerField"),
    }
)


def release_of_database() -> str:
    """Return the release whose migrations the database has, in words. Raises django.db.Error."""
    if later_migrations():
        return LATER
    if not missing_migrations():
        return installed_version()
    recorded = MigrationRecorder(connection).applied_migrations()
    for release in reversed(RELEASES):
        if recorded.keys() >= set(release.migrations.items()):
            return release.version
    return f"a commit before {RELEASES[0].version}"


def too_old() -> str:
    """Return why the database has to be updated by another release first, or "". Raises django.db.Error.

    Of a squashed history it has a part, which Django skips without a word.
    """
    recorded = MigrationRecorder(connection).applied_migrations()
    for key, migration in MigrationLoader(None, ignore_no_migrations=True).disk_migrations.items():
        missing = [each for each in migration.replaces if each not in recorded]
        if key not in recorded and 0 < len(missing) < len(migration.replaces):
            return (
                f"The database has some of the migrations that {'.'.join(key)} replaces, but not "
                f"{'.'.join(missing[0])}. Update it with commit {THROUGH} first (`keeper init-db` there; see "
                "CHANGELOG.md), and then with this release."
            )
    return ""


def narrowing_of_database() -> list[str]:
    """Return what the waiting migrations take away from processes of the release before."""
    loader = MigrationLoader(connection)
    return narrowing(loader, have={key for key in loader.applied_migrations if key in loader.graph.nodes})


def migrations_of(release: Release, loader: MigrationLoader) -> set[Key]:
    """Return the migrations of a release, those of libraries as they are now."""
    leaves = [(app, release.migrations.get(app, name)) for app, name in loader.graph.leaf_nodes()]
    return {key for leaf in leaves for key in loader.graph.forwards_plan(leaf)}


def narrowing(loader: MigrationLoader, *, have: Collection[Key]) -> list[str]:
    """Return what all migrations beyond `have` take away from code that was written for `have`."""
    before, after = loader.project_state(sorted(have)), loader.project_state()
    plan = [key for leaf in loader.graph.leaf_nodes() for key in loader.graph.forwards_plan(leaf)]
    found = [
        sentence
        for key in dict.fromkeys(plan)
        if key not in have
        for operation in database_operations(loader.get_migration(*key))
        for sentence in _taken(key, operation, before)
    ]
    for label, model in after.models.items():
        if old := before.models.get(label):
            found += _narrower(f"{model.app_label}.{model.name}", old, model)
    return found


def database_operations(migration: Migration) -> Iterator[Operation]:
    """Yield what a migration does to the database."""
    for operation in migration.operations:
        if isinstance(operation, operations.SeparateDatabaseAndState):
            yield from operation.database_operations
        else:
            yield operation


def _taken(key: Key, operation: Operation, before: ProjectState) -> Iterator[str]:
    app, place = key[0], ".".join(key)
    match operation:
        case operations.RemoveField() | operations.RenameField():
            name = operation.old_name if isinstance(operation, operations.RenameField) else operation.name
            model = before.models.get((app, operation.model_name_lower))
            if model and name in model.fields:
                yield f"{place} takes away {app}.{model.name}.{name}"
        case operations.DeleteModel() | operations.AlterModelTable():
            if (app, operation.name_lower) in before.models:
                yield f"{place} takes away the table of {app}.{operation.name}"
        case operations.RenameModel():
            if (app, operation.old_name_lower) in before.models:
                yield f"{place} renames {app}.{operation.old_name}"
        case operations.RunSQL():
            if not operation.hints.get("only_adds"):
                yield f"{place} runs SQL that is not marked with hints={{'only_adds': True}}"


def _narrower(label: str, old: ModelState, new: ModelState) -> Iterator[str]:
    """Yield what rows a table no longer takes, of those that it took before."""
    for name, field in new.fields.items():
        if field.many_to_many:
            continue
        if name in old.fields:
            yield from (f"{label}.{name} {what}" for what in _narrower_field(old.fields[name], field))
        elif not _may_be_left_out(field):
            yield f"{label}.{name} must be given: let it be null, or give it a db_default"
    for name, field in old.fields.items():
        if name not in new.fields and not field.many_to_many and not _may_be_left_out(field):
            yield f"{label}.{name} is no longer given: let it be null, or give it a db_default"
    yield from _constraints(label, _named(old), _named(new))


def _may_be_left_out(field: "models.Field[Any, Any]") -> bool:
    return field.null or field.db_default is not NOT_PROVIDED


def _narrower_field(old: "models.Field[Any, Any]", new: "models.Field[Any, Any]") -> Iterator[str]:
    if old.null and not new.null:
        yield "no longer takes NULL"
    if new.unique and not old.unique:
        yield "no longer takes a value twice"
    if old.max_length and new.max_length and new.max_length < old.max_length:
        yield f"takes {new.max_length} characters instead of {old.max_length}"
    if old.db_column != new.db_column:
        yield "has another column"
    kinds = (old.get_internal_type(), new.get_internal_type())
    if kinds[0] != kinds[1] and kinds not in _WIDER:
        yield f"is a {kinds[1]} instead of a {kinds[0]}"


def _named(model: ModelState) -> dict[str, models.BaseConstraint]:
    return {constraint.name: constraint for constraint in model.options.get("constraints", ())}


def _constraints(
    label: str, old: Mapping[str, models.BaseConstraint], new: Mapping[str, models.BaseConstraint]
) -> Iterator[str]:
    """Yield what is newly refused, and what an upsert may name that is gone."""
    yield from (f"{label} is newly constrained by {name}" for name in new.keys() - old.keys())
    for name in old.keys() - new.keys():
        if isinstance(old[name], models.UniqueConstraint):
            yield f"{label} loses the unique constraint {name}"
