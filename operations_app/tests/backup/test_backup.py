"""`keeper backup` writes everything as it was at one instant, and is recorded."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from audit_app.models import AuditEvent
from environments_app.errors import Forbidden
from environments_app.models import Environment
from environments_app.tests.cast import Cast, make_cast
from operations_app.backup.archive import rows
from operations_app.backup.archive.format import open_backup
from operations_app.backup.create import back_up
from operations_app.backup.verification import verify_backup
from operations_app.tests.backup.making import OPERATOR, another_database, furnish


@pytest.mark.every_database
def test_it_writes_a_file_that_nothing_replaces(cast: Cast, settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_BACKUP_DIR = str(tmp_path / "backups")
    furnish(cast)
    out = StringIO()
    call_command("backup", stdout=out, stderr=StringIO())
    (made,) = (tmp_path / "backups").iterdir()
    assert out.getvalue().startswith(str(made))
    with pytest.raises(CommandError, match="never replaces a file"):
        call_command("backup", "--output", str(made), stderr=StringIO())


def test_it_is_recorded_before_it_begins_and_when_it_ends(
    cast: Cast, tmp_path: Path, events: Callable[..., list[AuditEvent]]
) -> None:
    written = back_up(actor=cast.principal(cast.root), path=tmp_path / "made.kbk")
    (begun,), (ended,) = events("backup.create"), events("backup.finish")
    assert begun.object_uuid == ended.object_uuid
    assert json.loads(ended.details)["sha256"] == written.digest
    with open_backup(written.path) as file:
        # The record of its beginning is in it; that of its end cannot be.
        assert file.manifest.heads["system"].sequence == begun.sequence
        assert file.manifest.backup == begun.object_uuid


@pytest.mark.parametrize("who", ["alice", "charlie"])
def test_administrators_alone_may(cast: Cast, tmp_path: Path, who: str) -> None:
    with pytest.raises(Forbidden):
        back_up(actor=cast.principal(getattr(cast, who)), path=tmp_path / "made.kbk")
    assert not (tmp_path / "made.kbk").exists()


def test_it_is_one_instant_while_others_write(tmp_path: Path, db: None) -> None:
    """Fifty writes a second and more go on while it runs; no half of one is in it, and none waits for it."""
    with another_database(tmp_path) as database:
        furnish(make_cast())
        with writes_going_on(database) as written:
            wait_for(written)
            made = back_up(
                actor=OPERATOR, path=tmp_path / "made.kbk", progress=lambda *_: wait_for(written)
            ).path
    proof = verify_backup(made)
    counted = proof.manifest.counts["audit_app.RefusalCount"]
    # Some were written for each table while it ran: they are not in it.
    assert 2 <= counted <= 2 * len(written) - 2 * len(rows.tables())
    assert counted % 2 == 0
    assert proof.problems == []


@contextmanager
def writes_going_on(database: Path) -> Iterator[list[int]]:
    """Write pairs of rows, each in a transaction, as fast as the disk takes them."""
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        writing = sqlite3.connect(database, timeout=20, isolation_level=None)
        while not stop.is_set():
            writing.execute("BEGIN IMMEDIATE")
            for kind in ("one", "other"):
                writing.execute(
                    "INSERT INTO audit_app_refusalcount (minute, address, kind, count) VALUES (?, ?, ?, 1)",
                    ["2026-11-24 00:00:00", f"address {len(written)}", kind],
                )
            writing.execute("COMMIT")
            written.append(1)
            stop.wait(0.004)
        writing.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield written
    finally:
        stop.set()
        writer.join()


def wait_for(written: list[int]) -> None:
    """Let two more writes be committed."""
    enough = len(written) + 2
    while len(written) < enough:
        threading.Event().wait(0.001)


@pytest.mark.django_db
def test_it_reports_the_rows_of_each_table_as_it_writes_them(cast: Cast, tmp_path: Path) -> None:
    seen: dict[str, int] = {}
    written = back_up(actor=OPERATOR, path=tmp_path / "made.kbk", progress=seen.__setitem__)
    assert written.path.is_file()
    assert seen["environments_app.Environment"] == Environment.objects.count()


@pytest.mark.django_db
def test_a_command_that_is_not_watched_prints_nothing_beside_its_result(cast: Cast, tmp_path: Path) -> None:
    error = StringIO()
    call_command("backup", "--output", str(tmp_path / "made.kbk"), stdout=StringIO(), stderr=error)
    assert error.getvalue() == ""
