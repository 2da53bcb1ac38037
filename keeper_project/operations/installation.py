"""What this installation is: its version, the state of its schema, and what its checks find."""

import platform
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import django
from django.core import checks
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from keeper_project.ui.navigation import installed_version

_DATABASES: Final = {"sqlite": "SQLite", "mysql": "MariaDB"}
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
    """The versions of Keeper and what it runs on, and the migrations that the database lacks."""

    version: str
    python: str
    django: str
    database: str
    now: datetime
    unapplied: list[str]


def build() -> Build:
    """Return the version and the state of the schema."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return Build(
        version=installed_version(),
        python=platform.python_version(),
        django=django.get_version(),
        database=f"{_DATABASES[connection.vendor]} {'.'.join(map(str, connection.get_database_version()))}",
        now=timezone.now(),
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
