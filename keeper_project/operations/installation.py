"""What this installation is: its version, the state of its schema, and what its checks find."""

from dataclasses import dataclass
from typing import Final

from django.core import checks
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from keeper_project.ui.navigation import installed_version

_LEVELS: Final = {checks.WARNING: "warning", checks.ERROR: "error", checks.CRITICAL: "critical"}


@dataclass(frozen=True, kw_only=True)
class DeploymentFinding:
    """What a system check found, with what to do."""

    id: str
    level: str
    text: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class Build:
    """The version, and the migrations that the database lacks."""

    version: str
    database: str
    unapplied: list[str]


def build() -> Build:
    """Return the version and the state of the schema."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return Build(
        version=installed_version(),
        database=connection.vendor,
        unapplied=[f"{migration.app_label}.{migration.name}" for migration, _backwards in plan],
    )


def deployment_findings() -> list[DeploymentFinding]:
    """Return what `check --deploy` finds."""
    found = checks.run_checks(include_deployment_checks=True)
    return [
        DeploymentFinding(
            id=message.id or "",
            level=_LEVELS.get(message.level, "info"),
            text=str(message.msg),
            hint=str(message.hint or ""),
        )
        for message in found
        if not message.is_silenced()
    ]
