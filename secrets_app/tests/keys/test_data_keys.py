"""Data keys of an environment: made, kept, replaced, and refused once their rows were edited."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from audit_app.events.actions import Action
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent, deployment_uuid
from environments_app.models import Environment
from secrets_app.errors import (
    KeyRefused,
    KeyUnavailable,
    NetworkInTransaction,
    SecretError,
    UnknownDataKey,
    WrongContext,
)
from secrets_app.keys import data_keys
from secrets_app.keys.data_keys import active_key, forget_data_keys, plain_key, prefetch
from secrets_app.keys.providers.registry import provider
from secrets_app.keys.wrapping import wrap_new
from secrets_app.models import DataKey
from secrets_app.tests.keys.conftest import forget_process

Sql = Callable[..., None]


def stored(environment: Environment) -> DataKey:
    return DataKey.objects.get(scope=environment.uuid, active=True)


def violations() -> int:
    return AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION, object_kind="data_key").count()


class TestMakingOne:
    @pytest.mark.every_database
    def test_an_environment_has_one_key_for_all_its_values(self, development: Environment) -> None:
        first = active_key(development)
        forget_process()
        again = active_key(development)
        assert (again.id, again.material) == (first.id, first.material)
        assert DataKey.objects.filter(environment=development).count() == 1

    def test_environments_share_no_key(self, development: Environment) -> None:
        production = Environment.objects.create(name="production")
        one, other = active_key(development), active_key(production)
        assert one.id != other.id
        assert one.material != other.material

    def test_no_key_is_stored_in_the_clear(self, development: Environment) -> None:
        key = active_key(development)
        row = stored(development)
        columns = b"|".join(str(value).encode() + bytes(row.wrapped_key) for value in vars(row).values())
        assert key.material not in columns
        assert key.material.hex().encode() not in columns

    def test_it_is_recorded_in_the_environments_stream(self, development: Environment) -> None:
        key = active_key(development)
        event = AuditEvent.objects.get(action=Action.DATA_KEY_CREATE, object_uuid=key.id)
        assert event.stream == f"environment:{development.uuid}"
        assert event.object_name == "development"
        assert key.material.hex() not in event.details

    def test_it_is_not_made_inside_a_transaction(self, development: Environment) -> None:
        keyring().open_all()
        with transaction.atomic(), pytest.raises(NetworkInTransaction):
            active_key(development)
        assert not DataKey.objects.filter(environment=development).exists()

    def test_who_comes_second_takes_the_winners(
        self, development: Environment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        winner: list[DataKey] = []

        def slowly(**arguments: Any) -> Any:
            monkeypatch.setattr(data_keys, "wrap_new", wrap_new)
            active_key(development)
            winner.append(stored(development))
            return wrap_new(**arguments)

        monkeypatch.setattr(data_keys, "wrap_new", slowly)
        assert active_key(development).id == winner[0].uuid
        assert DataKey.objects.filter(environment=development).count() == 1

    def test_a_fault_of_the_database_is_no_winner(
        self, development: Environment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would be asked for again and again."""

        def fails(*_given: object, **_more: object) -> None:
            raise IntegrityError("another constraint")

        monkeypatch.setattr(data_keys, "record_creation", fails)
        with pytest.raises(IntegrityError, match="another constraint"):
            active_key(development)
        assert not DataKey.objects.filter(environment=development).exists()

    def test_it_is_not_made_under_a_key_that_somebody_else_chose(
        self, development: Environment, sql: Sql
    ) -> None:
        sql("UPDATE environments_app_environment SET kms_key_alias = 'alias/planted'")
        development.refresh_from_db()
        with pytest.raises(KeyRefused, match="not written by Keeper"):
            active_key(development)
        assert AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION).exists()


class TestReplacingOne:
    @pytest.mark.every_database
    def test_an_old_one_is_replaced_and_still_opens(self, development: Environment) -> None:
        old = active_key(development)
        self.age(development)
        new = active_key(development)
        assert new.id != old.id
        assert plain_key(old.id).material == old.material
        retired = DataKey.objects.get(uuid=old.id)
        assert retired.active is None
        assert retired.retired_at is not None
        assert active_key(development).id == new.id

    def test_a_young_one_is_not(self, development: Environment, settings: Settings) -> None:
        old = active_key(development)
        age = timedelta(days=settings.KMS_DATA_KEY_MAX_AGE_DAYS) - timedelta(minutes=1)
        DataKey.objects.update(created_at=timezone.now() - age)
        assert active_key(development).id == old.id

    def test_who_comes_second_takes_the_winners(
        self, development: Environment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        active_key(development)
        self.age(development)

        def slowly(**arguments: Any) -> Any:
            monkeypatch.setattr(data_keys, "wrap_new", wrap_new)
            active_key(development)
            return wrap_new(**arguments)

        monkeypatch.setattr(data_keys, "wrap_new", slowly)
        assert active_key(development).id == stored(development).uuid
        assert DataKey.objects.filter(environment=development).count() == 2

    def test_values_are_sealed_with_the_old_one_while_no_new_one_can_be_had(
        self, development: Environment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = active_key(development)
        self.age(development)
        refuse(monkeypatch, KeyUnavailable("no answer", permanent=False))
        assert active_key(development).id == old.id

    def test_a_lasting_refusal_stops_the_sealing_and_drops_the_key(
        self, development: Environment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = active_key(development)
        self.age(development)
        refuse(monkeypatch, KeyUnavailable("denied", permanent=True))
        with pytest.raises(KeyUnavailable, match="denied"):
            active_key(development)
        assert not data_keys.cache().has(old.id)

    def age(self, environment: Environment) -> None:
        DataKey.objects.filter(environment=environment).update(created_at=timezone.now() - timedelta(days=91))


class TestOpeningOne:
    def test_a_warm_one_costs_nothing(
        self, development: Environment, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        key, calls = active_key(development), provider().calls.total()
        with django_assert_num_queries(0):
            assert plain_key(key.id, environment=development.uuid).material == key.material
        with django_assert_num_queries(1):
            active_key(development)
        assert provider().calls.total() == calls

    def test_many_are_found_by_one_statement(
        self, development: Environment, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        places = [development, *(Environment.objects.create(name=f"place-{n}") for n in range(3))]
        ids = [active_key(place).id for place in places]
        forget_data_keys()
        with django_assert_num_queries(1):
            prefetch([*ids, *ids, uuid4()])
        with django_assert_num_queries(0):
            prefetch(ids)
            assert [plain_key(data_key_id).id for data_key_id in ids] == ids

    def test_an_unknown_one_is_refused(self, db: None) -> None:
        with pytest.raises(UnknownDataKey):
            plain_key(uuid4())

    def test_another_environments_is_refused(self, development: Environment) -> None:
        production = Environment.objects.create(name="production")
        with pytest.raises(UnknownDataKey):
            plain_key(active_key(development).id, environment=production.uuid)

    def test_a_system_key_opens_no_value(self, db: None) -> None:
        keyring().open_all()
        system = DataKey.objects.filter(environment=None).first()
        assert system is not None
        with pytest.raises(UnknownDataKey):
            plain_key(system.uuid)


class TestAnEditedRow:
    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("scope", UUID(int=1).hex),
            ("uuid", UUID(int=2).hex),
            ("wrapped_key", b"planted"),
            ("context", '{"more": "pairs"}'),
            ("context", '{"keeper:environment": "x"}'),
            ("context", "[]"),
            ("context", '{"n": 1}'),
        ],
    )
    def test_it_does_not_open_and_is_reported(
        self, development: Environment, sql: Sql, column: str, value: object
    ) -> None:
        data_key_id = active_key(development).id
        sql(f"UPDATE secrets_app_datakey SET {column} = %s WHERE purpose = 'values'", value)
        forget_process()
        row = DataKey.objects.get(purpose="values")
        with pytest.raises((WrongContext, UnknownDataKey)):
            plain_key(row.uuid if column == "uuid" else data_key_id)
        assert violations() == 1

    def test_a_key_of_another_purpose_does_not_become_one_for_values(self, db: None, sql: Sql) -> None:
        keyring().open_all()
        sql("UPDATE secrets_app_datakey SET purpose = 'values' WHERE purpose = 'fingerprint'")
        with pytest.raises(WrongContext):
            plain_key(DataKey.objects.get(purpose="values").uuid)

    def test_a_row_of_the_other_provider_says_what_to_do(self, development: Environment, sql: Sql) -> None:
        data_key_id = active_key(development).id
        sql("UPDATE secrets_app_datakey SET provider = 'kms' WHERE purpose = 'values'")
        forget_data_keys()
        with pytest.raises(KeyUnavailable, match="KEY_MANAGEMENT_BACKEND is local"):
            plain_key(data_key_id)


class TestUnderKms:
    def test_the_calls_are_counted_in_keys_not_in_values(
        self, kms_key: str, development: Environment
    ) -> None:
        keyring().open_all()
        before = provider().calls.total()
        for _ in range(20):
            plain_key(active_key(development).id)
        assert provider().calls.total() == before + 1

    def test_one_process_decrypts_a_key_once(self, kms_key: str, development: Environment) -> None:
        data_key_id = active_key(development).id
        forget_process()
        for _ in range(20):
            plain_key(data_key_id)
        assert provider().calls["Decrypt"] == 1

    def test_a_planted_row_under_another_key_is_refused(
        self, kms_key: str, kms_client: Any, development: Environment, settings: Settings
    ) -> None:
        active_key(development)
        planted = kms_client.create_key()["KeyMetadata"]["Arn"]
        row, _ = wrap_new(environment=development, purpose="values", key_uri=planted)
        row.active = None
        row.save()
        settings.KMS_ALLOWED_KEYS = [kms_key]
        with pytest.raises(KeyRefused):
            plain_key(row.uuid)
        assert violations() == 1

    def test_a_row_whose_key_uri_was_edited_to_another_allowed_key_does_not_open(
        self, kms_key: str, kms_client: Any, development: Environment
    ) -> None:
        data_key_id = active_key(development).id
        other = kms_client.create_key()["KeyMetadata"]["Arn"]
        DataKey.objects.filter(uuid=data_key_id).update(key_uri=other)
        forget_process()
        with pytest.raises(SecretError):
            plain_key(data_key_id)

    def test_an_environment_may_have_a_key_of_its_own(self, kms_key: str, kms_client: Any, db: None) -> None:
        own = kms_client.create_key()["KeyMetadata"]["Arn"]
        kms_client.create_alias(AliasName=f"alias/own-{own[-12:]}", TargetKeyId=own)
        place = Environment.objects.create(name="own", kms_key_alias=f"alias/own-{own[-12:]}")
        active_key(place)
        assert stored(place).key_uri == own

    def test_an_environment_that_is_given_another_key_gets_a_new_data_key(
        self, kms_key: str, kms_client: Any, development: Environment
    ) -> None:
        old = active_key(development)
        development.kms_key_alias = kms_client.create_key()["KeyMetadata"]["Arn"]
        development.save()
        new = active_key(development)
        assert stored(development).key_uri == development.kms_key_alias
        assert plain_key(old.id).material == old.material
        assert new.id != old.id

    def test_an_old_answer_about_an_alias_takes_no_key_away_that_was_wrapped_anew(
        self, kms_key: str, kms_client: Any, db: None
    ) -> None:
        alias = f"alias/stale-{kms_key[-12:]}"
        kms_client.create_alias(AliasName=alias, TargetKeyId=kms_key)
        place = Environment.objects.create(name="named", kms_key_alias=alias)
        key = active_key(place)
        other = kms_client.create_key()["KeyMetadata"]["Arn"]
        kms_client.update_alias(AliasName=alias, TargetKeyId=other)
        # Another process has rotated; this one remembers the alias's former target.
        assert provider().resolve(alias) == kms_key
        DataKey.objects.filter(uuid=key.id).update(key_uri=other)
        assert active_key(place).id == key.id

    def test_a_new_data_key_is_made_under_what_the_alias_is_now(
        self, kms_key: str, kms_client: Any, db: None
    ) -> None:
        alias = f"alias/new-{kms_key[-12:]}"
        kms_client.create_alias(AliasName=alias, TargetKeyId=kms_key)
        place = Environment.objects.create(name="named", kms_key_alias=alias)
        assert provider().resolve(alias) == kms_key
        other = kms_client.create_key()["KeyMetadata"]["Arn"]
        kms_client.update_alias(AliasName=alias, TargetKeyId=other)
        active_key(place)
        assert stored(place).key_uri == other

    def test_the_configured_pairs_are_frozen_on_the_row(
        self, kms_key: str, development: Environment, settings: Settings
    ) -> None:
        settings.KMS_ENCRYPTION_CONTEXT = {"application": "keeper"}
        key = active_key(development)
        settings.KMS_ENCRYPTION_CONTEXT = {"application": "renamed"}
        forget_process()
        assert stored(development).context == {"application": "keeper"}
        assert plain_key(key.id).material == key.material

    def test_kms_is_told_what_the_key_is_for(
        self, kms_key: str, kms_client: Any, development: Environment, settings: Settings
    ) -> None:
        settings.KMS_ENCRYPTION_CONTEXT = {"application": "keeper"}
        key = active_key(development)
        row = stored(development)
        plain = kms_client.decrypt(
            CiphertextBlob=bytes(row.wrapped_key),
            EncryptionContext={
                "application": "keeper",
                "keeper:deployment": str(deployment_uuid()),
                "keeper:purpose": "values",
                "keeper:environment": str(development.uuid),
                "keeper:data-key": str(row.uuid),
            },
        )["Plaintext"]
        assert plain == key.material

    def test_a_cold_key_is_not_opened_inside_a_transaction(
        self, kms_key: str, development: Environment
    ) -> None:
        data_key_id = active_key(development).id
        with transaction.atomic():
            assert plain_key(data_key_id).id == data_key_id
        forget_data_keys()
        with transaction.atomic(), pytest.raises(NetworkInTransaction):
            plain_key(data_key_id)


@pytest.mark.django_db(transaction=True)
def test_many_threads_cost_one_call(kms_key: str) -> None:
    place = Environment.objects.create(name="development")
    data_key_id = active_key(place).id
    forget_process()

    def opened(_number: int) -> bytes:
        try:
            return plain_key(data_key_id).material
        finally:
            connection.close()

    with ThreadPoolExecutor(32) as pool:
        assert len(set(pool.map(opened, range(32)))) == 1
    assert provider().calls["Decrypt"] == 1


def refuse(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def generate(**_arguments: Any) -> None:
        raise error

    monkeypatch.setattr(provider(), "generate", generate)
