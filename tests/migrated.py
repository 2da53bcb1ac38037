"""The migrated database is kept below .venv: to migrate takes long, and each process of the suite needs one.

It is made anew as soon as a module of Keeper, a requirement or Python changes.
"""

import fcntl
import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from django.apps import apps
from django.core.management import call_command
from django.db import connection

from tests.processes import dumped, load

_ROOT: Final = Path(__file__).parents[1]
_KEPT: Final = Path(sys.prefix) / "migrated"


def make() -> None:
    """Make the database of the tests; of several processes that find none kept the first one migrates."""
    _KEPT.mkdir(exist_ok=True)
    # The type of a backend lacks it.
    name = connection.creation._get_test_db_name()  # type: ignore[attr-defined]
    kept = _KEPT / f"{connection.vendor}-{_digest()}"
    with (_KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if kept.exists():
            _put(kept, name)
            return
        for older in _KEPT.glob(f"{connection.vendor}-*"):
            older.unlink()
        _empty(name)
        _migrate(name)
        unfinished = _KEPT / "unfinished"
        _take(name, unfinished)
        unfinished.rename(kept)


def _empty(name: str) -> None:
    if connection.vendor == "sqlite":
        Path(name).unlink(missing_ok=True)
        return
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name} {connection.creation.sql_table_creation_suffix()}")


def _put(kept: Path, name: str) -> None:
    _empty(name)
    if connection.vendor == "sqlite":
        shutil.copyfile(kept, name)
    else:
        load(_url(name), kept.read_bytes())


def _take(name: str, kept: Path) -> None:
    if connection.vendor == "sqlite":
        shutil.copyfile(name, kept)
    else:
        kept.write_bytes(dumped(_url(name)))


def _url(name: str) -> SplitResult:
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}")


def _migrate(name: str) -> None:
    before = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        call_command("migrate", interactive=False, verbosity=0)
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before


def _digest() -> str:
    """Return what stands for all that migrations, and the signals after them, are made of."""
    found = hashlib.sha256(sys.version.encode())
    packages = {_ROOT / "core", *(Path(app.path) for app in apps.get_app_configs())}
    modules = [path for each in packages if each.parent == _ROOT for path in each.rglob("*.py")]
    for path in sorted([*modules, _ROOT / "requirements-dev.txt"]):
        if "tests" not in path.relative_to(_ROOT).parts:
            found.update(f"{path}\n".encode() + path.read_bytes())
    return found.hexdigest()
