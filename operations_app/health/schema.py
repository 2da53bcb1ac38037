"""The version of Keeper here, and the migrations that the database lacks or has of a later one.

Asked by the names of the files: to load the migrations themselves takes seconds and megabytes.
"""

from collections import defaultdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pkgutil import iter_modules

from django.apps import apps
from django.db.migrations.recorder import MigrationRecorder


@cache
def installed_version() -> str:
    """Return the version of Keeper, or "development" where it is not installed as a package.

    The one that this process runs: an update may replace the files.
    """
    try:
        return version("keeper")
    except PackageNotFoundError:
        return "development"


def missing_migrations() -> list[str]:
    """Return the migrations that the database lacks, as APP.NAME, sorted. Raises django.db.Error."""
    recorded = _recorded()
    return sorted(
        f"{app}.{name}" for app, names in _on_disk().items() for name in names if name not in recorded[app]
    )


def later_migrations() -> list[str]:
    """Return the migrations that the database has of a later release, sorted. Raises django.db.Error.

    Names begin with a number. What squashed migrations replaced is recorded too, below the last one here.
    """
    recorded = _recorded()
    return sorted(
        f"{app}.{name}"
        for app, names in _on_disk().items()
        for name in recorded[app]
        if names and name > max(names)
    )


@cache
def _on_disk() -> dict[str, list[str]]:
    """Return the names by app, of the release that this process runs."""
    return {
        config.label: [module.name for module in iter_modules([f"{config.path}/migrations"])]
        for config in apps.get_app_configs()
    }


def _recorded() -> dict[str, set[str]]:
    recorded: dict[str, set[str]] = defaultdict(set)
    for app, name in MigrationRecorder.Migration.objects.values_list("app", "name"):
        recorded[app].add(name)
    return recorded
