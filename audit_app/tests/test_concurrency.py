from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection, connections

from audit_app.actions import Action
from audit_app.integrity import Problem
from audit_app.models import AuditEvent
from audit_app.record import Receipt, commit_record
from audit_app.tests.trail import ALICE, SECRET, STREAM, entries, head_sequence
from audit_app.verification import verify

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]

WRITERS, EACH = 4, 15
READ = entries(3)


def write_some(_writer: int) -> list[Receipt]:
    try:
        return [
            commit_record(
                actor=ALICE, action=Action.SECRET_EXPORT, stream=STREAM, object=SECRET, manifest=READ
            )
            for _ in range(EACH)
        ]
    finally:
        connection.close()


def damage_and_openings(_reader: int) -> tuple[list[Problem], int, int]:
    try:
        opened = AuditEvent.objects.filter(action=Action.STREAM_OPEN, object_name=STREAM).count()
        return list(verify()), opened, head_sequence()
    finally:
        connection.close()


@pytest.fixture
def on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the threads a database on disk: SQLite in memory knows no waiting for a lock."""
    with monkeypatch.context() as patched:
        if connection.vendor == "sqlite" and "memory" in str(connection.settings_dict["NAME"]):
            with connection.cursor() as cursor:
                cursor.execute("VACUUM INTO %s", [str(tmp_path / "trail.db")])
            patched.setitem(connections.settings["default"], "NAME", str(tmp_path / "trail.db"))
        yield


def test_concurrent_writers_do_not_fork_the_chain(on_disk: None) -> None:
    """They also open the stream and make the manifest at once."""
    with ThreadPoolExecutor(WRITERS) as pool:
        receipts = [receipt for batch in pool.map(write_some, range(WRITERS)) for receipt in batch]
        ((problems, opened, head),) = pool.map(damage_and_openings, [0])
    assert sorted(receipt.sequence for receipt in receipts) == list(range(1, WRITERS * EACH + 1))
    assert (problems, opened, head) == ([], 1, WRITERS * EACH)
