"""Two environments with two KMS keys: nothing of the one opens in the other, nor under a foreign key."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.interfaces import Purpose, keyring
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from environments_app.models import Environment
from environments_app.tests.cast import Cast, make_cast
from secrets_app.errors import EnvelopeError, KeyRefused, SecretError
from secrets_app.key_operations.rotation import rotations
from secrets_app.keys.data_keys import active_key, plain_key, replace_key
from secrets_app.keys.providers.registry import provider
from secrets_app.keys.wrapping import wrap_new
from secrets_app.models import DataKey, Secret, SecretVersion
from secrets_app.services import bulk_create
from secrets_app.services import read as read_service
from secrets_app.tests.kept import VALUE, keep
from secrets_app.tests.keys.conftest import forget_process
from secrets_app.types.registry import SecretType
from tests.aws_strict.faults import Plan

Sql = Callable[..., None]
FOREIGN = "arn:aws:kms:eu-central-1:210987654321:key/00000000-0000-4000-8000-000000000000"


@pytest.fixture
def cast(strict_kms: Plan, kms_client: Any, db: None) -> Cast:
    made = make_cast()
    for place in (made.development, made.production):
        place.kms_key_alias = kms_client.create_key()["KeyMetadata"]["Arn"]
        place.save()
    return made


def data_key(place: Environment) -> DataKey:
    return DataKey.objects.get(environment=place)


@pytest.mark.every_database
class TestCarriedOver:
    @pytest.fixture
    def secrets(self, cast: Cast) -> tuple[Secret, Secret]:
        return keep(cast), keep(cast, value="another value", environment=cast.production)

    def reveal(self, cast: Cast, secret: Secret) -> str:
        forget_process()
        stored = Secret.objects.select_related("environment").get(pk=secret.pk)
        return read_service.reveal(actor=cast.principal(cast.alice), secret=stored).value

    def test_each_is_wrapped_by_the_key_of_its_own(self, cast: Cast, secrets: tuple[Secret, Secret]) -> None:
        places = (cast.development, cast.production)
        assert [data_key(place).key_uri for place in places] == [place.kms_key_alias for place in places]
        assert [self.reveal(cast, secret) for secret in secrets] == [VALUE, "another value"]

    @pytest.mark.parametrize("column", ["wrapped_key", "key_uri", "both", "uuid too"])
    def test_a_wrapped_key_does_not_open(
        self, cast: Cast, secrets: tuple[Secret, Secret], column: str
    ) -> None:
        other, own = data_key(cast.production), DataKey.objects.filter(environment=cast.development)
        changes: dict[str, Any] = {"wrapped_key": other.wrapped_key, "key_uri": other.key_uri}
        if column in changes:
            changes = {column: changes[column]}
        if column == "uuid too":
            SecretVersion.objects.filter(secret=secrets[0]).update(data_key=other)
            own.delete()
            DataKey.objects.filter(pk=other.pk).update(
                environment=cast.development, scope=cast.development.uuid
            )
        else:
            own.update(**changes)
        with pytest.raises(SecretError):
            self.reveal(cast, secrets[0])

    def test_a_ciphertext_does_not_open(self, cast: Cast, secrets: tuple[Secret, Secret]) -> None:
        carried = SecretVersion.objects.get(secret=secrets[1])
        SecretVersion.objects.filter(secret=secrets[0]).update(
            value=carried.value, data_key=carried.data_key_id
        )
        with pytest.raises(EnvelopeError):
            self.reveal(cast, secrets[0])


class TestAForeignKey:
    def test_a_row_that_names_one_is_not_unwrapped(self, strict_kms: Plan, cast: Cast) -> None:
        key = active_key(cast.development)
        DataKey.objects.filter(uuid=key.id).update(key_uri=FOREIGN)
        forget_process()
        keyring().open_all()
        strict_kms.calls.clear()
        with pytest.raises(KeyRefused):
            plain_key(key.id)
        assert not strict_kms.calls

    def test_nothing_is_wrapped_by_one(self, strict_kms: Plan, cast: Cast) -> None:
        keyring().open_all()
        cast.development.kms_key_alias = FOREIGN
        cast.development.save()
        strict_kms.calls.clear()
        with pytest.raises(KeyRefused):
            active_key(cast.development)
        with pytest.raises(KeyRefused):
            wrap_new(environment=cast.development, purpose="values", key_uri=FOREIGN)
        assert not strict_kms.calls

    def test_nothing_is_wrapped_again_by_one(self, strict_kms: Plan, cast: Cast) -> None:
        key = active_key(cast.development)
        cast.development.kms_key_alias = FOREIGN
        cast.development.save()
        strict_kms.calls.clear()
        [rotation] = rotations(environment="development", progress=lambda *_told: None)
        assert "is not allowed" in rotation.problems[0]
        assert strict_kms.calls["ReEncrypt"] == 0
        assert DataKey.objects.get(uuid=key.id).key_uri != FOREIGN


class TestBudgets:
    SECRETS = 1000

    def fill(self, cast: Cast) -> list[int]:
        items = [
            bulk_create.NewSecret(
                environment=cast.development, name=f"n/{number}", secret_type=SecretType.TEXT, value=VALUE
            )
            for number in range(self.SECRETS)
        ]
        return [
            secret.pk for secret in bulk_create.create_many(actor=cast.principal(cast.alice), items=items)
        ]

    @pytest.mark.django_db(transaction=True)
    def test_a_cold_process_asks_once_a_data_key_for_32_readers_of_1000_secrets(
        self, strict_kms: Plan, kms_key: str
    ) -> None:
        cast = make_cast()
        self.fill(cast)
        older = data_key(cast.development)
        replace_key(cast.development)
        keep(cast, "under/the/new/one")
        forget_process()
        keyring().open_all()
        reader = cast.principal(cast.alice)
        rows = list(SecretVersion.objects.filter(data_key=older).select_related("secret__environment"))
        # Recorded before: a SQLite in memory has no room for 32 writers, which are not the matter here.
        receipt = commit_record(
            actor=reader,
            action=Action.SECRET_EXPORT,
            stream=environment_stream(cast.development.uuid),
            object=AuditObject("environment", cast.development.uuid, "development"),
            covers=frozenset(row.uuid.bytes for row in rows),
        )
        strict_kms.calls.clear()

        def read(number: int) -> int:
            try:
                return sum(row.value.open(receipt).decode() == VALUE for row in rows[number::32])
            finally:
                connection.close()

        with ThreadPoolExecutor(32) as pool:
            assert sum(pool.map(read, range(32))) == self.SECRETS
        assert strict_kms.calls == {"Decrypt": 1}
        assert plain_key(older.uuid).id == older.uuid
        read_service.reveal_environment(actor=reader, environment=cast.development)
        assert strict_kms.calls == {"Decrypt": 2}

    def test_wrapping_again_costs_one_call_a_data_key_and_touches_no_secret(
        self, strict_kms: Plan, kms_key: str, kms_client: Any, db: None, settings: Settings
    ) -> None:
        cast = make_cast()
        self.fill(cast)
        before = list(SecretVersion.objects.order_by("pk").values_list("pk", "value", "data_key_id"))
        settings.KMS_KEY_ID = kms_client.create_key()["KeyMetadata"]["Arn"]
        forget_process()
        keyring().open_all()
        strict_kms.calls.clear()
        with CaptureQueriesContext(connection) as statements:
            assert all(rotation.ok for rotation in rotations(progress=lambda *_told: None))
        assert strict_kms.calls == {"ReEncrypt": len(Purpose) + 1}
        assert not [each for each in statements if "secrets_app_secret" in each["sql"]]
        assert list(SecretVersion.objects.order_by("pk").values_list("pk", "value", "data_key_id")) == before
        assert provider().resolve("") == settings.KMS_KEY_ID
