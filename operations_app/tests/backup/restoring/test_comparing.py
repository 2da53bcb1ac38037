"""A restored database is held against its backup, and whatever is not as it should be is a doubt."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from pytest_django import Settings

from environments_app.models import Membership, Session
from environments_app.tests.cast import Cast, make_cast
from operations_app.backup.create import back_up
from operations_app.backup.errors import BackupError
from operations_app.backup.restore import restore
from operations_app.backup.restore_check import compare
from operations_app.tests.backup.making import OPERATOR, another_database, backup_of, furnish
from operations_app.tests.backup.test_backup import wait_for, writes_going_on
from secrets_app.errors import KeyUnavailable
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import Secret

every_database = pytest.mark.every_database


@pytest.fixture(autouse=True)
def _here(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path / "data"


def doubts(made: Path) -> list[str]:
    return [f"{check.name}: {doubt}" for check in compare(made) for doubt in check.doubts]


@every_database
def test_what_was_just_restored_leaves_no_doubt(cast: Cast, tmp_path: Path) -> None:
    made = backup_of(cast, tmp_path)
    restore(made, replace=True)
    assert doubts(made) == []
    told = {check.name: check.said for check in compare(made)}
    assert "3 values open" in told["values"]
    assert "1 credentials open" in told["values"]
    assert "5 of kind membership" in told["suspended"]


def test_an_empty_database_is_named(cast: Cast, tmp_path: Path) -> None:
    made = backup_of(cast, tmp_path)
    MigrationRecorder.Migration.objects.all().delete()
    with pytest.raises(CommandError, match="lacks tables of this release: restore the backup"):
        call_command("restore", str(made), compare=True, stdout=StringIO())
    with another_database(tmp_path, empty=True), pytest.raises(BackupError, match="lacks tables"):
        list(compare(made))


EVENT = "audit_app_auditevent"
SWAPPED = (
    "UPDATE secrets_app_secretversion SET value = (SELECT * FROM (SELECT value FROM "
    "secrets_app_secretversion WHERE number = 2) AS other) WHERE number = 1"
)
TAMPERS = {
    "DELETE FROM sync_app_syncentry": "counts: sync_app.SyncEntry holds 0 rows, and the backup 1",
    f"UPDATE {EVENT} SET sequence = sequence + 90 WHERE stream = 'system'": "heads: stream system",
    SWAPPED: "values: version:",
    "UPDATE sync_app_target SET credentials = (SELECT value FROM secrets_app_secretversion "
    "WHERE number = 2)": "values: target",
    "UPDATE environments_app_membership SET role = 'manager'": "rows: ",
    f"UPDATE {EVENT} SET actor_name = 'mallory' WHERE action = 'secret.create'": "trail: edited",
    f"DELETE FROM {EVENT} WHERE action = 'deployment.restore'": "trail: no discontinuity",
    "UPDATE audit_app_streamhead SET sequence = 1 WHERE stream = 'system'": "trail: ",
}


@every_database
@pytest.mark.parametrize(("statement", "doubt"), TAMPERS.items())
def test_what_did_not_come_back_is_a_doubt(
    cast: Cast, tmp_path: Path, sql: Callable[..., None], statement: str, doubt: str
) -> None:
    made = backup_of(cast, tmp_path)
    restore(made, replace=True)
    sql(statement)
    assert any(found.startswith(doubt) for found in doubts(made)), doubts(made)


def test_credentials_whose_key_does_not_answer_are_a_doubt(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backup_of(cast, tmp_path)
    restore(made, replace=True)

    def unavailable(_sealed: Sealed) -> bool:
        raise KeyUnavailable("KMS does not answer", permanent=False)

    monkeypatch.setattr(Sealed, "can_decrypt", unavailable)
    assert any("the credential does not open" in found for found in doubts(made))


@every_database
def test_what_acts_is_a_doubt(cast: Cast, tmp_path: Path) -> None:
    made = backup_of(cast, tmp_path)
    restore(made, replace=True)
    membership = Membership.objects.get(user=cast.bob)
    membership.suspended_at = None
    membership.save()
    Session.objects.create(session_key="x" * 32, session_data="", expire_date="2030-01-01T00:00:00Z")
    call_command("activate", "--yes", stdout=StringIO())
    found = "\n".join(doubts(made))
    for said in (
        "1 of kind membership act, which is right only after `keeper release`",
        "is the active one, which is right only after `keeper activate`",
        "1 sessions go on",
    ):
        assert f"suspended: {said}" in found or said in found


def test_another_backup_is_not_the_one(cast: Cast, tmp_path: Path) -> None:
    restore(backup_of(cast, tmp_path), replace=True)
    other = back_up(actor=OPERATOR, path=tmp_path / "other.kbk").path
    assert "trail: no discontinuity in the audit log names this file" in doubts(other)


def test_a_drill_restores_elsewhere_and_touches_nothing(db: None, tmp_path: Path) -> None:
    """From a database that is written to meanwhile, into one that is made for it and thrown away."""
    with another_database(tmp_path) as database:
        furnish(make_cast())
        with writes_going_on(database) as written:
            wait_for(written)
            made = back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path
    before, out = Secret.objects.count(), StringIO()
    call_command("restore", str(made), "--drill", stdout=out, stderr=StringIO())
    assert "No doubt is left" in out.getvalue()
    assert [line.split()[:2] for line in out.getvalue().splitlines()[:-1]] == [
        ["ok", name]
        for name in ("restored", "counts", "heads", "values", "rows", "trail", "people", "suspended")
    ]
    assert Secret.objects.count() == before
    assert list((tmp_path / "data").iterdir()) == []


@every_database
def test_a_doubt_ends_with_1(cast: Cast, tmp_path: Path, sql: Callable[..., None]) -> None:
    made = backup_of(cast, tmp_path)
    restore(made, replace=True)
    sql("DELETE FROM sync_app_syncentry")
    out = StringIO()
    with pytest.raises(SystemExit, match="1"):
        call_command("restore", str(made), "--compare", stdout=out)
    assert "doubt counts" in out.getvalue()
    assert connection.is_usable()
