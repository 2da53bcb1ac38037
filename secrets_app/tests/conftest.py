"""Fixtures of the tests of secrets."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection, connections


@pytest.fixture
def on_disk(transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give this thread and others a database on disk: SQLite in memory knows no waiting for a lock."""
    if connection.vendor != "sqlite" or "memory" not in str(connection.settings_dict["NAME"]):
        yield
        return
    path = str(tmp_path / "keeper.db")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [path])
    kept, connection.connection = connection.connection, None
    try:
        with monkeypatch.context() as patched:
            patched.setitem(connections.settings["default"], "NAME", path)
            yield
            connection.close()
    finally:
        connection.connection = kept
