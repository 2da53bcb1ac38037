from collections.abc import Iterator
from datetime import UTC, datetime
from typing import ClassVar
from uuid import UUID

import pytest
from django.apps import apps
from django.db import connection, models
from django.db.models import F
from pytest_django import DjangoDbBlocker

from audit_app.errors import UnauthenticatableValue, Unrecorded
from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import (
    AuthenticatedQuerySet,
    AuthenticatedRow,
    record_integrity_violation,
    verified_rows,
)
from audit_app.integrity.row_state import row_digest_entry
from audit_app.models import AuditEvent
from audit_app.tests.trail import sql

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


class Vault(AuthenticatedRow):
    MAC_LABEL: ClassVar[str] = "test-vault"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("name",)

    name = models.CharField(max_length=50)

    class Meta:
        app_label = "audit_app_tests"


class Door(AuthenticatedRow):
    MAC_LABEL: ClassVar[str] = "test-door"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("vault.uuid", "role", "open", "until", "cidrs", "seal")

    vault = models.ForeignKey(Vault, null=True, on_delete=models.DO_NOTHING, db_constraint=False)
    role = models.CharField(max_length=20)
    open = models.BooleanField(default=False)
    until = models.DateTimeField(null=True)
    cidrs = models.JSONField(default=list)
    seal = models.BinaryField(default=b"")
    note = models.CharField(max_length=50, default="")

    class Meta:
        app_label = "audit_app_tests"


@pytest.fixture(scope="module", autouse=True)
def _tables(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        with connection.schema_editor() as editor:
            editor.create_model(Vault)
            editor.create_model(Door)
        yield
        with connection.schema_editor() as editor:
            editor.delete_model(Door)
            editor.delete_model(Vault)


@pytest.fixture
def vault() -> Vault:
    return Vault.objects.create(name="main")


@pytest.fixture
def door(vault: Vault) -> Door:
    return Door.objects.create(vault=vault, role="reader", until=datetime(2026, 1, 1, tzinfo=UTC), seal=b"x")


def is_authentic(door: Door) -> bool:
    return Door.objects.get(pk=door.pk).is_authentic()


def test_a_saved_row_proves_itself(door: Door) -> None:
    assert is_authentic(door)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("role", "manager"),
        ("open", True),
        ("until", None),
        ("cidrs", '["0.0.0.0/0"]'),
        ("seal", b"y"),
        ("uuid", UUID(int=5).hex),
        ("vault_id", None),
        ("vault_id", 999_999),
        ("row_mac", b""),
        ("row_mac", b"\0" * 48),
    ],
)
def test_a_column_edited_by_sql_does_not(door: Door, column: str, value: object) -> None:
    sql(f"UPDATE audit_app_tests_door SET {column} = %s WHERE id = %s", value, door.pk)
    assert not is_authentic(door)


def test_a_column_that_is_not_covered_is_free(door: Door) -> None:
    sql("UPDATE audit_app_tests_door SET note = 'x' WHERE id = %s", door.pk)
    assert is_authentic(door)


def test_a_row_moved_under_another_parent_does_not(door: Door) -> None:
    other = Vault.objects.create(name="other")
    sql("UPDATE audit_app_tests_door SET vault_id = %s WHERE id = %s", other.pk, door.pk)
    assert not is_authentic(door)


def test_the_mac_of_another_row_does_not_serve(door: Door, vault: Vault) -> None:
    twin = Door.objects.create(vault=vault, role="manager", until=door.until, seal=b"x")
    sql("UPDATE audit_app_tests_door SET row_mac = %s WHERE id = %s", twin.row_mac, door.pk)
    assert not is_authentic(door)


def test_a_partial_save_of_a_covered_column_seals_anew(door: Door) -> None:
    door.role = "editor"
    door.save(update_fields=["role"])
    assert is_authentic(door)


def test_a_partial_save_of_a_foreign_key_seals_anew(door: Door) -> None:
    door.vault = Vault.objects.create(name="other")
    door.save(update_fields=["vault_id"])
    assert is_authentic(door)


def test_a_partial_save_of_other_columns_never_heals_a_bad_row(door: Door) -> None:
    sql("UPDATE audit_app_tests_door SET role = 'manager' WHERE id = %s", door.pk)
    bad = Door.objects.get(pk=door.pk)
    bad.note = "x"
    bad.save(update_fields=["note"])
    assert not is_authentic(door)


def test_bulk_create_seals(vault: Vault) -> None:
    Door.objects.bulk_create([Door(vault=vault, role=role) for role in ("reader", "editor")])
    assert len(verified_rows(Door.objects.all())) == 2


def test_update_works_after_sealing(door: Door) -> None:
    door.role = "editor"
    door.seal_row()
    Door.objects.filter(pk=door.pk).update(role="editor", row_mac=door.row_mac)
    assert is_authentic(door)


def test_values_are_covered_as_they_are_stored(vault: Vault) -> None:
    door = Door.objects.create(
        vault=vault, role="reader", until="2026-01-01T02:00:00+02:00", cidrs=("a", "b")
    )
    assert is_authentic(door)


def test_an_expression_cannot_be_covered(door: Door) -> None:
    door.cidrs = F("note")
    with pytest.raises(UnauthenticatableValue):
        door.save()


def test_authentic_drops_and_reports_bad_rows(door: Door, vault: Vault) -> None:
    good = Door.objects.create(vault=vault, role="reader")
    sql("UPDATE audit_app_tests_door SET role = 'manager' WHERE id = %s", door.pk)
    assert verified_rows(Door.objects.order_by("pk")) == [good]
    event = AuditEvent.objects.get(action=Action.INTEGRITY_VIOLATION)
    assert (event.stream, event.object_kind, event.object_uuid) == ("system", "test-door", door.uuid)


def test_a_violation_is_reported_once_a_minute() -> None:
    for uuid in (UUID(int=1), UUID(int=1), UUID(int=2)):
        record_integrity_violation(kind="test-door", uuid=uuid, name="1", reason="edited")
    assert AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION).count() == 2


def test_a_report_that_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from audit_app.integrity import row_authentication

    def fail(**_event: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(row_authentication, "record", fail)
        with pytest.raises(ZeroDivisionError):
            record_integrity_violation(kind="test-door", uuid=UUID(int=1), name="1", reason="edited")
    record_integrity_violation(kind="test-door", uuid=UUID(int=1), name="1", reason="edited")
    assert AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_violation_is_committed_on_its_own() -> None:
    record_integrity_violation(kind="test-door", uuid=UUID(int=1), name="1", reason="edited")
    assert not connection.in_atomic_block
    assert AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION).exists()


def test_a_row_is_deleted_only_once_an_event_was_told_that_it_is_gone() -> None:
    vault = Vault.objects.create(name="a")
    with pytest.raises(Unrecorded):
        vault.delete()
    with pytest.raises(Unrecorded):
        Vault.objects.filter(pk=vault.pk).delete()
    row_digest_entry(vault)
    with pytest.raises(Unrecorded):
        vault.delete()
    assert Vault.objects.exists()
    assert row_digest_entry(vault, gone=True)["rows"] == {str(vault.uuid): None}
    vault.delete()
    assert not Vault.objects.exists()


def test_no_way_of_djangos_leads_past_that() -> None:
    """What a manager gives refuses, and no foreign key takes rows away with what it leads to."""
    # A purge tells of the shares and wrapped reads that go with their secret.
    told = {("Share", "secret"), ("WrappedRead", "secret")}
    # No event names these rows: lines of a plan, values of a departure, origins of versions.
    unnamed = {("MigrationLine", "migration"), ("DepartureValue", "secret"), ("VersionOrigin", "version")}
    for model in apps.get_models():
        if not issubclass(model, AuthenticatedRow):
            continue
        assert isinstance(model._default_manager.all(), AuthenticatedQuerySet), model
        cascades = {
            (model.__name__, field.name)
            for field in model._meta.concrete_fields
            if field.remote_field and field.remote_field.on_delete is models.CASCADE
        }
        assert cascades <= told | unnamed
