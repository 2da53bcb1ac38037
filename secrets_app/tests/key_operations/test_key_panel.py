"""The key on the page of an environment: stored facts for its managers, and nobody asks KMS for them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from environments_app.models import Environment, User
from environments_app.tests.cast import Cast, make_cast
from secrets_app.key_operations.key_check import check_keys
from secrets_app.keys.data_keys import replace_key
from secrets_app.models import DataKey, SecretVersion
from secrets_app.tests.kept import keep
from secrets_app.tests.key_operations.migration.test_migrate_to_kms import both, moved
from secrets_app.tests.keys.conftest import forget_process
from secrets_app.views.panels import KeyPanel
from tests.aws_strict.faults import Plan

__all__ = ["both"]
PAGE = "/environments/development"
SignedIn = Callable[[User], Client]


def commands(environment: Environment) -> list[str]:
    return [each.command for each in KeyPanel().panel(environment=environment)["pending"]]


def text(client: Client) -> str:
    return client.get(PAGE).content.decode()


@pytest.mark.django_db
class TestUnderTheKeyFile:
    @pytest.fixture
    def cast(self) -> Cast:
        return make_cast()

    def test_managers_and_administrators_see_it(self, cast: Cast, signed_in: SignedIn) -> None:
        check_keys()
        for user in (cast.alice, cast.root):
            assert 'id="key-title"' in text(signed_in(user))
        for user in (cast.erin, cast.bob, cast.vera):
            assert 'id="key-title"' not in text(signed_in(user))

    def test_it_says_what_was_never_checked(self, cast: Cast, signed_in: SignedIn) -> None:
        page = text(signed_in(cast.alice))
        assert "pending" in page
        assert "created with the first secret" in page
        assert "Pending key tasks" not in page

    def test_a_data_key_that_does_not_open_is_named(
        self, cast: Cast, signed_in: SignedIn, sql: Callable[..., None]
    ) -> None:
        keep(cast)
        sql("UPDATE secrets_app_datakey SET wrapped_key = %s WHERE purpose = 'values'", b"planted")
        forget_process()
        check_keys()
        assert f"Data key {DataKey.objects.get(purpose='values').uuid} can't be decrypted" in text(
            signed_in(cast.alice)
        )

    def test_values_under_an_older_data_key_are_pending(self, cast: Cast, signed_in: SignedIn) -> None:
        keep(cast, "one")
        keep(cast, "two")
        replace_key(cast.development)
        keep(cast, "three")
        page = text(signed_in(cast.alice))
        assert "2 values under older data keys" in page
        assert "keeper kms rotate --reencrypt --environment development" in page

    def test_the_number_of_statements_does_not_grow(
        self, cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        check_keys()
        for number in range(3):
            keep(cast, f"app/{number}")
            replace_key(cast.development)
            with django_assert_num_queries(6):
                KeyPanel().panel(environment=cast.development)

    def test_values_of_the_older_scheme_are_pending(self, cast: Cast) -> None:
        keep(cast)
        SecretVersion.objects.update(data_key=None)
        assert commands(cast.development) == ["keeper migrate to-kms --no-dry-run --environment development"]


@pytest.mark.django_db
class TestUnderKms:
    def test_it_shows_the_key_without_asking_kms(
        self, strict_kms: Plan, kms_key: str, settings: Settings, signed_in: SignedIn
    ) -> None:
        cast = make_cast()
        keep(cast)
        check_keys()
        strict_kms.calls.clear()
        page = text(signed_in(cast.alice))
        assert kms_key in page
        assert "Enabled" in page
        assert "Pending key tasks" not in page
        assert not strict_kms.calls

    def test_a_key_that_cannot_be_used_is_told(
        self, kms_key: str, kms_client: Any, signed_in: SignedIn
    ) -> None:
        cast = make_cast()
        keep(cast)
        kms_client.disable_key(KeyId=kms_key.rpartition("/")[2])
        check_keys()
        assert "the key is in the state Disabled" in text(signed_in(cast.alice))

    def test_data_keys_under_an_old_key_are_pending(
        self, kms_key: str, kms_client: Any, settings: Settings
    ) -> None:
        cast = make_cast()
        keep(cast)
        check_keys()
        settings.KMS_KEY_ID = kms_client.create_key()["KeyMetadata"]["Arn"]
        forget_process()
        assert commands(cast.development) == ["keeper kms key-info --environment development"]
        check_keys()
        assert commands(cast.development) == ["keeper kms rotate --environment development"]


@pytest.mark.django_db
class TestDuringAMigration:
    def test_what_it_waits_for_is_told(self, both: str, settings: Settings) -> None:
        cast = make_cast()
        keep(cast)
        moved(environment="production")
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        check_keys()
        assert commands(cast.development) == ["keeper migrate to-kms --no-dry-run"]
        moved()
        assert commands(cast.development) == ["keeper migrate to-kms --finalize"]
