"""Sealed columns: a value goes in sealed, comes out by a receipt, and takes no other way."""

import copy
import pickle
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.core import serializers
from django.core.exceptions import ValidationError
from django.core.serializers.base import DeserializationError
from django.db import transaction
from django.db.models import F, Max, TextField, Value
from django.db.models.functions import Cast
from django.forms import modelform_factory
from pytest_django import DjangoAssertNumQueries

from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from audit_app.recording.drafts import AuditObject, Receipt
from audit_app.recording.recorder import commit_record, record
from environments_app.models import Environment
from secrets_app.errors import EnvelopeError, GuardedValue, NotCommitted, PlaintextRefused, WrongContext
from secrets_app.keys.data_keys import active_key
from secrets_app.keys.encrypted_field import EncryptedField, Sealed
from secrets_app.models import Secret, SecretVersion

Sql = Callable[..., None]

VALUE = b"correct horse battery staple"


@pytest.fixture
def secret(development: Environment) -> Secret:
    return Secret.objects.create(environment=development, name="db/password", secret_type="PASSWORD")


@pytest.fixture
def version(secret: Secret) -> SecretVersion:
    made = unsaved(secret, 1)
    made.save()
    return SecretVersion.objects.select_related("secret__environment").get(pk=made.pk)


def unsaved(secret: Secret, number: int, value: bytes = VALUE) -> SecretVersion:
    key = active_key(secret.environment)
    made = SecretVersion(
        secret=secret,
        number=number,
        data_key_id=key.id,
        fingerprint=b"f" * 48,
        author="a",
        author_uuid=uuid4(),
    )
    made.value = Sealed.of(value, data_key=key, context=made.sealing_context())
    return made


def receipt_for(
    *versions: SecretVersion, writer: Callable[..., Receipt] = commit_record, **options: bool
) -> Receipt:
    return writer(
        actor=actors.system(),
        action=Action.SECRET_REVEAL,
        stream="test",
        object=AuditObject("secret", uuid4(), "db/password"),
        covers=frozenset(version.uuid.bytes for version in versions),
        **options,
    )


def violations() -> int:
    return AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION).count()


class TestOpening:
    @pytest.mark.every_database
    def test_a_committed_receipt_opens_what_it_covers(self, version: SecretVersion) -> None:
        assert version.value.open(receipt_for(version)) == VALUE

    def test_a_guarded_value_opens_for_a_released_receipt_alone(self, version: SecretVersion) -> None:
        version.secret.guarded = True
        key, receipt = active_key(version.secret.environment), receipt_for(version)
        for opens in (version.value.open, lambda given: version.value.open_by(given, key)):
            with pytest.raises(GuardedValue):
                opens(receipt)
            assert opens(receipt_for(version, released=True)) == VALUE

    def test_a_receipt_that_joined_a_transaction_opens_nothing(self, version: SecretVersion) -> None:
        with pytest.raises(NotCommitted):
            version.value.open(receipt_for(version, writer=record))

    def test_a_receipt_for_another_row_opens_nothing(self, version: SecretVersion, secret: Secret) -> None:
        with pytest.raises(NotCommitted):
            version.value.open(receipt_for(unsaved(secret, 2)))

    def test_what_only_looks_like_a_receipt_opens_nothing(self, version: SecretVersion) -> None:
        class Forged:
            committed = True

            def covers(self, uuid: object) -> bool:
                return True

        for forged in (Forged(), None, True):
            with pytest.raises(NotCommitted):
                version.value.open(forged)  # type: ignore[arg-type]

    def test_one_that_is_bound_to_no_row_does_not_open(self, version: SecretVersion) -> None:
        (loose,) = SecretVersion.objects.values_list("value", flat=True)
        with pytest.raises(WrongContext):
            loose.open(receipt_for(version))
        assert loose.with_context(version.sealing_context()).open(receipt_for(version)) == VALUE

    def test_looking_at_one_costs_no_statement(
        self, version: SecretVersion, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        bare = SecretVersion.objects.get(pk=version.pk)
        with django_assert_num_queries(0):
            assert bare.value.data_key_id == version.data_key_id
            assert repr(bare.value)

    def test_a_deferred_one_is_fetched(self, version: SecretVersion) -> None:
        deferred = SecretVersion.objects.defer("value").get(pk=version.pk)
        assert deferred.value == version.value

    def test_it_shows_no_value(self, version: SecretVersion) -> None:
        version.value.open(receipt_for(version))
        for shown in (repr(version.value), str(version.value), f"{vars(version)}"):
            assert VALUE.decode() not in shown

    def test_it_may_be_copied(self, version: SecretVersion) -> None:
        for same in (copy.deepcopy(version), pickle.loads(pickle.dumps(version))):
            assert same.value.open(receipt_for(version)) == VALUE


class TestWhatSomebodyChanged:
    def test_a_value_moved_to_another_row_does_not_open(
        self, version: SecretVersion, secret: Secret, sql: Sql
    ) -> None:
        other = unsaved(secret, 2, b"another value")
        other.save()
        sql("UPDATE secrets_app_secretversion SET value = %s WHERE id = %s", version.value.envelope, other.pk)
        other.refresh_from_db()
        with pytest.raises(WrongContext):
            other.value.open(receipt_for(other))
        assert violations() == 1

    @pytest.mark.parametrize("column", ["number", "uuid", "secret_id"])
    def test_a_version_pointed_elsewhere_does_not_open(
        self, version: SecretVersion, sql: Sql, column: str
    ) -> None:
        other = Secret.objects.create(
            environment=version.secret.environment, name="other", secret_type="TEXT"
        )
        changed = {"number": 9, "uuid": uuid4().hex, "secret_id": other.pk}[column]
        sql(f"UPDATE secrets_app_secretversion SET {column} = %s", changed)
        moved = SecretVersion.objects.get(pk=version.pk)
        with pytest.raises(WrongContext):
            moved.value.open(receipt_for(moved))
        assert violations() == 1

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"plain",
            "plain text",
            42,
            b"KPR\x01\x01",
            b"KPR\x02\x01" + b"x" * 200,
            b"KPR\x01\x01" + b"x" * 200,
        ],
        ids=["empty", "bytes", "text", "number", "short", "version", "unknown key"],
    )
    def test_what_is_no_envelope_breaks_no_list_and_does_not_open(
        self, version: SecretVersion, sql: Sql, content: object
    ) -> None:
        sql("UPDATE secrets_app_secretversion SET value = %s", content)
        (listed,) = SecretVersion.objects.all()
        with pytest.raises(EnvelopeError):
            listed.value.open(receipt_for(listed))
        assert violations() == 1

    def test_another_environments_data_key_seals_nothing_here(self, secret: Secret) -> None:
        production = Environment.objects.create(name="production")
        made, key = unsaved(secret, 1), active_key(production)
        made.value = Sealed.of(VALUE, data_key=key, context=made.sealing_context())
        made.save()
        with pytest.raises(EnvelopeError, match="not a key of the value's environment"):
            made.value.open(receipt_for(made))


class TestGuards:
    @pytest.mark.parametrize(
        "plain", ["plain", b"plain", bytearray(b"plain"), memoryview(b"plain"), 5, Value("x")]
    )
    def test_plaintext_cannot_be_assigned(self, version: SecretVersion, plain: Any) -> None:
        with pytest.raises(PlaintextRefused) as raised:
            version.value = plain
        assert "plain'" not in str(raised.value)
        with pytest.raises(PlaintextRefused):
            SecretVersion(value=plain)

    @pytest.mark.parametrize(
        "plain",
        ["plain", b"plain", F("comment"), Value("plain"), Value(b"plain"), Cast(F("author"), TextField())],
    )
    def test_plaintext_cannot_be_written_by_update(self, version: SecretVersion, plain: Any) -> None:
        with pytest.raises(PlaintextRefused), transaction.atomic():
            SecretVersion.objects.update(value=plain)
        version.refresh_from_db()
        assert version.value.open(receipt_for(version)) == VALUE

    @pytest.mark.parametrize(
        "lookup", ["value", "value__exact", "value__contains", "value__in", "value__gt", "value__x"]
    )
    def test_it_cannot_be_searched(self, version: SecretVersion, lookup: str) -> None:
        with pytest.raises(PlaintextRefused):
            list(SecretVersion.objects.filter(**{lookup: version.value}))
        with pytest.raises(PlaintextRefused):
            list(Secret.objects.filter(**{f"versions__{lookup}": b"plain"}))

    def test_it_can_be_asked_whether_there_is_one(self, version: SecretVersion) -> None:
        assert SecretVersion.objects.filter(value__isnull=False).count() == 1
        assert SecretVersion.objects.filter(value__isnull=True).count() == 0

    def test_it_can_be_asked_whether_it_still_holds_an_envelope(self, version: SecretVersion) -> None:
        assert SecretVersion.objects.filter(value__envelope=version.value).count() == 1
        assert SecretVersion.objects.filter(value__envelope=Sealed(b"another")).count() == 0
        with pytest.raises(PlaintextRefused):
            SecretVersion.objects.filter(value__envelope=b"plain")

    @pytest.mark.parametrize("order", ["value", "-value", F("value"), F("value").desc()])
    def test_it_cannot_be_sorted_by(self, version: SecretVersion, order: Any) -> None:
        with pytest.raises(PlaintextRefused):
            list(SecretVersion.objects.order_by(order))
        with pytest.raises(PlaintextRefused):
            list(SecretVersion.objects.order_by(order).values("number"))

    def test_other_columns_can_be_sorted_by(self, version: SecretVersion) -> None:
        assert list(SecretVersion.objects.order_by("-number", F("created_at").desc())) == [version]

    def test_it_can_be_sorted_by_across_a_relation_neither(self, version: SecretVersion) -> None:
        with pytest.raises(PlaintextRefused):
            list(Secret.objects.order_by("versions__value"))

    def test_a_value_sealed_for_another_row_is_not_saved(
        self, version: SecretVersion, secret: Secret
    ) -> None:
        other = unsaved(secret, 2)
        other.value = version.value
        with pytest.raises(WrongContext):
            other.save()
        with pytest.raises(WrongContext):
            SecretVersion.objects.bulk_create([other])

    def test_it_is_part_of_no_form(self) -> None:
        assert modelform_factory(SecretVersion, fields="__all__").base_fields.keys().isdisjoint({"value"})

    def test_a_context_with_another_label_is_refused(self, version: SecretVersion) -> None:
        field = SecretVersion._meta.get_field("value")
        assert isinstance(field, EncryptedField)
        other = EncryptedField(label="something.else", context=field.context)
        other.set_attributes_from_name("value")
        with pytest.raises(WrongContext, match=r"something\.else"):
            other.context_of(version)


class TestWritingMany:
    @pytest.mark.every_database
    def test_bulk_create_stores_what_opens(self, secret: Secret) -> None:
        made = [unsaved(secret, number, b"value %d" % number) for number in range(1, 4)]
        SecretVersion.objects.bulk_create(made)
        rows = list(SecretVersion.objects.order_by("number"))
        receipt = receipt_for(*rows)
        assert [row.value.open(receipt) for row in rows] == [b"value 1", b"value 2", b"value 3"]

    @pytest.mark.every_database
    def test_bulk_update_stores_what_opens(self, version: SecretVersion) -> None:
        key = active_key(version.secret.environment)
        version.value = Sealed.of(b"sealed anew", data_key=key, context=version.sealing_context())
        SecretVersion.objects.bulk_update([version], ["value"])
        version.refresh_from_db()
        assert version.value.open(receipt_for(version)) == b"sealed anew"

    def test_update_takes_a_sealed_one(self, version: SecretVersion) -> None:
        key = active_key(version.secret.environment)
        sealed = Sealed.of(b"sealed anew", data_key=key, context=version.sealing_context())
        SecretVersion.objects.filter(pk=version.pk).update(value=sealed)
        version.refresh_from_db()
        assert version.value.open(receipt_for(version)) == b"sealed anew"

    def test_an_aggregate_shows_an_envelope_at_most(self, version: SecretVersion) -> None:
        greatest = SecretVersion.objects.aggregate(greatest=Max("value"))["greatest"]
        assert greatest == version.value


class TestFixtures:
    def test_what_is_dumped_is_sealed_and_loads_again(self, version: SecretVersion) -> None:
        dumped = serializers.serialize("json", SecretVersion.objects.all())
        assert VALUE.decode() not in dumped
        SecretVersion.objects.all()._raw_delete("default")
        for loaded in serializers.deserialize("json", dumped):
            loaded.save()
        version = SecretVersion.objects.get()
        assert version.value.open(receipt_for(version)) == VALUE

    @pytest.mark.parametrize("plain", ["plain", "cGxhaW4=", "ünïcødé", 5])
    def test_plaintext_is_not_loaded(self, plain: object) -> None:
        field = SecretVersion._meta.get_field("value")
        with pytest.raises(ValidationError) as raised:
            field.to_python(plain)
        assert str(plain) not in str(raised.value)

    def test_a_fixture_with_plaintext_is_refused(self, version: SecretVersion) -> None:
        dumped = serializers.serialize("python", [version])
        dumped[0]["fields"]["value"] = "plain"
        with pytest.raises(DeserializationError):
            list(serializers.deserialize("python", dumped))
