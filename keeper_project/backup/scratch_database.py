"""A throw-away SQLite database that stands in for Keeper's own while a backup is proved.

Everything that Keeper checks, it checks against its default connection. So a process that proves a
backup points that connection at a file of its own, loads the backup there and checks it as it would
check itself. For processes of their own alone, such as a command: what the process remembers of
keys and of the deployment is dropped before and after.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections
from django.utils.module_loading import import_string

from audit_app.interfaces.keyring import forget_keyring
from audit_app.models import forget_deployment
from keeper_project.backup.errors import Unwritable
from keeper_project.config.database_url import database_settings
from secrets_app.keys.data_keys import forget_data_keys


@contextmanager
def scratch_database(*, tables: bool = True) -> Iterator[None]:
    """Let the default connection lead to a new, empty SQLite database, with Keeper's tables if wanted.

    Raises Unwritable if KEEPER_DATA_DIR does not take it.
    """
    folder = Path(settings.KEEPER_DATA_DIR)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="proof-", dir=folder) as place:
            entry = database_settings(f"sqlite:///{Path(place) / 'proof.db'}", base_dir=folder)
            # This file need not survive a power failure.
            entry["OPTIONS"]["init_command"] = "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY;"
            with standing_in(entry, tables=tables):
                yield
    except OSError as error:
        raise Unwritable(f"there is no room to prove the backup in {folder}: {error.strerror}") from error


@contextmanager
def standing_in(entry: dict[str, Any], *, tables: bool = True) -> Iterator[None]:
    """Let the default connection lead to an empty database, an entry of DATABASES, and make the tables."""
    own = connections[DEFAULT_DB_ALIAS]
    unset = dict.fromkeys(("USER", "PASSWORD", "HOST", "PORT"), "")
    engine = import_string(f"{entry['ENGINE']}.base.DatabaseWrapper")
    stand_in = engine({**own.settings_dict, **unset, "CONN_HEALTH_CHECKS": False, **entry}, DEFAULT_DB_ALIAS)
    connections[DEFAULT_DB_ALIAS] = stand_in
    _forget()
    try:
        if tables:
            _make_tables()
        yield
    finally:
        stand_in.close()
        connections[DEFAULT_DB_ALIAS] = own
        _forget()


def _make_tables() -> None:
    try:
        with connection.schema_editor() as editor:
            for model in apps.get_models():
                if model._meta.managed and not model._meta.proxy:
                    editor.create_model(model)
    except OperationalError as error:
        raise Unwritable(f"there is no room for a database: {error}") from error


def _forget() -> None:
    forget_keyring()
    forget_deployment()
    forget_data_keys()
    ContentType.objects.clear_cache()
