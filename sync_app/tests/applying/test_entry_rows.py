"""Entries as plain rows: what is taken as it is stored is what the model reads, and nothing else is."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.models import SyncEntry
from sync_app.state import entry_rows
from sync_app.tests.applying.stage import Stage

TEXTS = ["name", "remote_id", "ownership", "base_keeper", "base_target", "base_form", "claimed_from"]


@pytest.fixture
def stage(cast: Cast, vault: VaultWorld) -> Stage:
    """A target with two entries, each with a time and a number."""
    made = Stage(cast, vault)
    for name in ("app/one", "app/two"):
        made.keep(name, "value")
    made.sync()
    return made


def columns(entry: SyncEntry) -> dict[str, Any]:
    return {field.attname: getattr(entry, field.attname) for field in SyncEntry._meta.concrete_fields}


def by_models(stage: Stage) -> list[SyncEntry]:
    rows = list(SyncEntry.objects.filter(target=stage.target))
    return verified_rows(rows)


def overwrite(column: str, value: str | bytes | int, name: str = "app/one") -> None:
    with connection.cursor() as cursor:
        table = connection.ops.quote_name(SyncEntry._meta.db_table)
        place = connection.ops.quote_name(column)
        cursor.execute(f"UPDATE {table} SET {place} = %s WHERE name = %s", [value, name])


@pytest.mark.every_database
def test_a_row_becomes_what_its_model_reads(stage: Stage) -> None:
    found, known = entry_rows.load_under(stage.target, ""), by_models(stage)
    assert [columns(entry) for entry in found] == [columns(entry) for entry in known]
    assert len(found) == 2
    assert found == known
    assert not any(entry._state.adding or entry.get_deferred_fields() for entry in found)
    assert all(entry.target is stage.target for entry in found)
    found[0].reason = "stored by its model"
    found[0].save()
    assert SyncEntry.objects.get(pk=found[0].pk).reason == "stored by its model"


@pytest.mark.every_database
@pytest.mark.parametrize("column", [*TEXTS, "secret_uuid", "row_mac"])
def test_a_row_that_was_edited_is_left_out_and_reported(stage: Stage, column: str) -> None:
    edited: dict[str, str | bytes] = {"secret_uuid": uuid4().hex, "row_mac": b"\x00" * 48}
    overwrite(column, edited.get(column, "adopted"))
    assert [entry.name for entry in entry_rows.load_under(stage.target, "")] == ["app/two"]
    assert AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION).count() == 1


@pytest.mark.parametrize("column", [*TEXTS, "state", "reason", "base_number", "synced_at", "secret_uuid"])
@pytest.mark.parametrize("value", [b"\xff\x00", 7, "\ud7ff", b"in_sync"])
def test_a_column_of_another_type_is_read_as_its_model_reads_it(
    stage: Stage, column: str, value: str | bytes | int
) -> None:
    """SQLite stores another type than a column's."""
    overwrite(column, value)
    known = sorted(by_models(stage), key=lambda entry: entry.pk)
    found = sorted(entry_rows.load_under(stage.target, ""), key=lambda entry: entry.pk)
    assert [columns(entry) for entry in found] == [columns(entry) for entry in known]


def test_bytes_whose_digits_are_the_genuine_text_prove_nothing(stage: Stage) -> None:
    """A MAC covers bytes as digits: the type decides before it. SQLite stores another type than a column's."""
    genuine = SyncEntry.objects.get(name="app/one").base_keeper
    overwrite("base_keeper", bytes.fromhex(genuine))
    assert [entry.name for entry in entry_rows.load_under(stage.target, "")] == ["app/two"]


@pytest.mark.every_database
def test_only_what_was_asked_for_is_read(stage: Stage) -> None:
    for name in ("app", "app0", "apple/one"):
        stage.keep(name, "value")
    stage.sync()
    assert {str(entry.name) for entry in entry_rows.load_under(stage.target, "app")} == {
        "app",
        "app/one",
        "app/two",
    }
    assert list(entry_rows.load_named(stage.target, ["app0", "missing"])) == ["app0"]
    assert entry_rows.load_named(stage.target, []) == {}
