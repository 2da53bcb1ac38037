"""The key that an environment names is looked at in KMS before it is stored, and by the check of keys.

Without its own keys a process is not ready.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from pytest_django import Settings

from audit_app.errors import KeyringUnavailable
from environments_app.environments import service as environments
from environments_app.errors import InvalidField
from environments_app.models import Environment, User
from environments_app.tests.cast import Cast, make_cast
from operations_app.health import service as health
from operations_app.health import status
from operations_app.health.service import HealthFailure
from secrets_app.errors import NetworkInTransaction
from secrets_app.key_operations.key_check import watch_keys
from secrets_app.models import DataKey
from secrets_app.tests.kept import send
from secrets_app.tests.keys.conftest import forget_process, fresh_process, kms_client, kms_key, strict_kms
from tests.aws_strict.faults import Fault, Plan
from tests.servers.fixtures import moto_url, strict_aws

__all__ = ["fresh_process", "kms_client", "kms_key", "moto_url", "strict_aws", "strict_kms"]

SignedIn = Callable[[User], Client]
PAGE = "/environments/development/settings"
ADMIN = "/admin/environments_app/environment"
FOREIGN = "arn:aws:kms:eu-central-1:210987654321:key/00000000-0000-4000-8000-000000000000"
AWAY = [Fault.THROTTLE, Fault.SERVER_ERROR, Fault.EXPIRED, Fault.HANG]

pytestmark = pytest.mark.django_db


@pytest.fixture
def cast(strict_kms: Plan) -> Cast:
    return make_cast()


@pytest.fixture
def own_key(kms_client: Any) -> str:
    """The ARN of a key beside the installation's."""
    arn: str = kms_client.create_key()["KeyMetadata"]["Arn"]
    return arn


def named(kms_client: Any, arn: str) -> str:
    """Return a new alias of a key."""
    alias = f"alias/of-{arn[-12:]}"
    kms_client.create_alias(AliasName=alias, TargetKeyId=arn)
    return alias


def disabled(kms_client: Any, arn: str) -> None:
    kms_client.disable_key(KeyId=arn.rpartition("/")[2])


def dying(kms_client: Any, arn: str) -> None:
    kms_client.schedule_key_deletion(KeyId=arn.rpartition("/")[2], PendingWindowInDays=7)


def name_key(cast: Cast, reference: str) -> Environment:
    return environments.update_environment(
        actor=cast.principal(cast.alice), environment=cast.development, kms_key_alias=reference
    )


def refusal(cast: Cast, reference: str) -> str:
    with pytest.raises(InvalidField) as raised:
        name_key(cast, reference)
    assert raised.value.field == "kms_key_alias"
    # The reason repeats nothing that was typed.
    assert reference not in raised.value.reason
    cast.development.refresh_from_db()
    assert cast.development.kms_key_alias == ""
    return raised.value.reason


class TestRefused:
    @pytest.mark.parametrize(
        "reference", ["alias/none-such", "0" * 32, "arn:aws:kms:eu-central-1:123456789012:key/none-such"]
    )
    def test_a_key_that_does_not_exist(self, cast: Cast, reference: str) -> None:
        assert "no such key" in refusal(cast, reference)

    @pytest.mark.parametrize("by_alias", [True, False])
    @pytest.mark.parametrize(
        ("spoil", "says"), [(disabled, "Enable it in KMS"), (dying, "Cancel the deletion and enable")]
    )
    def test_a_key_that_is_off(
        self,
        cast: Cast,
        kms_client: Any,
        own_key: str,
        spoil: Callable[[Any, str], None],
        says: str,
        *,
        by_alias: bool,
    ) -> None:
        reference = named(kms_client, own_key) if by_alias else own_key
        spoil(kms_client, own_key)
        assert says in refusal(cast, reference)

    @pytest.mark.parametrize("by_alias", [True, False])
    @pytest.mark.parametrize(
        "made",
        [
            {"KeyUsage": "SIGN_VERIFY", "KeySpec": "RSA_2048"},
            {"KeyUsage": "ENCRYPT_DECRYPT", "KeySpec": "RSA_2048"},
        ],
    )
    def test_a_key_for_something_else(
        self, cast: Cast, kms_client: Any, made: dict[str, str], *, by_alias: bool
    ) -> None:
        arn = kms_client.create_key(**made)["KeyMetadata"]["Arn"]
        reason = refusal(cast, named(kms_client, arn) if by_alias else arn)
        assert "not a symmetric key for encryption" in reason

    def test_a_key_that_is_not_on_the_list(
        self, cast: Cast, kms_client: Any, kms_key: str, own_key: str, settings: Settings
    ) -> None:
        settings.KMS_ALLOWED_KEYS = [kms_key]
        for reference in (own_key, named(kms_client, own_key)):
            assert "KMS_ALLOWED_KEYS" in refusal(cast, reference)

    def test_a_key_of_another_account_or_region(self, cast: Cast, kms_key: str, settings: Settings) -> None:
        assert "KMS_ALLOWED_KEYS" in refusal(cast, FOREIGN)
        elsewhere = kms_key.replace("eu-central-1", "us-east-1")
        settings.KMS_ALLOWED_KEYS = [elsewhere]
        assert "AWS_REGION" in refusal(cast, elsewhere)

    def test_an_alias_that_keeper_may_not_look_at(
        self, cast: Cast, kms_client: Any, own_key: str, strict_kms: Plan
    ) -> None:
        strict_kms.keep_failing("DescribeKey", Fault.ACCESS_DENIED)
        assert "Allow kms:DescribeKey" in refusal(cast, named(kms_client, own_key))

    def test_by_every_way_that_saves(
        self, cast: Cast, signed_in: SignedIn, bearer: Callable[..., Client]
    ) -> None:
        wrong = "alias/none-such"
        body = {"name": "prod2", "kms_key_alias": wrong}
        made = send(bearer("admin"), "POST", "/api/environments", body)
        assert (made.status_code, made.json()["errors"][0]["field"]) == (400, "kms_key_alias")
        alice, root = signed_in(cast.alice), signed_in(cast.root)
        change = {"kms_key_alias": wrong}
        assert send(alice, "PATCH", "/api/environments/development", change).status_code == 400
        page = root.post("/environments/new", {"name": "prod2", "colour": "blue", "kms_key_alias": wrong})
        assert (page.status_code, "no such key" in page.text) == (422, True)
        page = alice.post(PAGE, {"colour": "teal", "kms_key_alias": wrong})
        assert "no such key" in page.text
        form = {"name": "prod2", "colour": "teal", "position": "3", "kms_key_alias": wrong}
        assert "no such key" in root.post(f"{ADMIN}/add/", form, follow=True).text
        form["name"] = "development"
        page = root.post(f"{ADMIN}/{cast.development.pk}/change/", form, follow=True)
        assert "no such key" in page.text
        assert not Environment.objects.exclude(kms_key_alias="").exists()
        assert not Environment.objects.filter(name="prod2").exists()


class TestTaken:
    def test_a_key_that_can_be_used(self, cast: Cast, kms_client: Any, own_key: str) -> None:
        for reference in (own_key, named(kms_client, own_key), own_key.rpartition("/")[2]):
            stored = name_key(cast, reference)
            assert (stored.kms_key_alias, stored.warnings) == (reference, ())

    def test_the_installations_key_is_not_asked_about(self, cast: Cast, strict_kms: Plan) -> None:
        strict_kms.asked.clear()
        environments.create_environment(actor=cast.principal(cast.root), name="plain")
        name_key(cast, "")
        assert strict_kms.asked["DescribeKey"] == 0

    def test_other_settings_beside_a_key_that_fails_meanwhile(
        self, cast: Cast, kms_client: Any, own_key: str, signed_in: SignedIn
    ) -> None:
        name_key(cast, own_key)
        disabled(kms_client, own_key)
        form = {"display_name": "Renamed", "colour": "teal", "kms_key_alias": own_key}
        assert signed_in(cast.alice).post(PAGE, form).status_code == 302
        cast.development.refresh_from_db()
        assert (cast.development.display_name, cast.development.kms_key_alias) == ("Renamed", own_key)

    def test_any_key_under_a_key_file(self) -> None:
        stored = name_key(make_cast(), "alias/none-such")
        assert stored.kms_key_alias == "alias/none-such"
        (warning,) = stored.warnings
        assert warning.startswith("This installation uses a local key file.")

    def test_kms_is_asked_before_any_transaction(self, cast: Cast) -> None:
        with transaction.atomic(), transaction.atomic(), pytest.raises(NetworkInTransaction):
            name_key(cast, "alias/none-such")


class TestWhileKmsIsAway:
    @pytest.fixture(autouse=True)
    def _short(self, settings: Settings) -> None:
        settings.KMS_TIMEOUT_SECONDS = 2.0

    @pytest.mark.parametrize("fault", AWAY)
    def test_the_key_is_stored_with_a_warning(
        self, cast: Cast, own_key: str, strict_kms: Plan, fault: Fault
    ) -> None:
        strict_kms.keep_failing("DescribeKey", fault)
        stored = name_key(cast, own_key)
        assert stored.kms_key_alias == own_key
        assert ["could not be checked" in warning for warning in stored.warnings] == [True]

    def test_the_arn_of_a_key_that_keeper_may_only_use(
        self, cast: Cast, own_key: str, strict_kms: Plan
    ) -> None:
        strict_kms.keep_failing("DescribeKey", Fault.ACCESS_DENIED)
        assert "could not be checked" in name_key(cast, own_key).warnings[0]

    def test_every_way_says_so(
        self, cast: Cast, strict_kms: Plan, signed_in: SignedIn, bearer: Callable[..., Client]
    ) -> None:
        strict_kms.keep_failing("DescribeKey", Fault.THROTTLE)
        body = {"name": "prod2", "kms_key_alias": "alias/prod2"}
        made = send(bearer("admin"), "POST", "/api/environments", body)
        assert (made.status_code, len(made.json()["warnings"])) == (201, 1)
        alice, root = signed_in(cast.alice), signed_in(cast.root)
        changed = send(alice, "PATCH", "/api/environments/development", {"kms_key_alias": "alias/a"})
        assert len(changed.json()["warnings"]) == 1
        page = alice.post(PAGE, {"colour": "teal", "kms_key_alias": "alias/b"}, follow=True)
        assert "could not be checked" in page.text
        form = {"name": "development", "colour": "teal", "position": "3", "kms_key_alias": "alias/c"}
        page = root.post(f"{ADMIN}/{cast.development.pk}/change/", form, follow=True)
        assert "could not be checked" in page.text
        cast.development.refresh_from_db()
        assert cast.development.kms_key_alias == "alias/c"

    def test_the_check_of_keys_finds_it_before_the_first_data_key(
        self, cast: Cast, strict_kms: Plan, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(health, "CHECKS", ())
        monkeypatch.setattr(health, "PROBES", ())
        monkeypatch.setattr(health, "WARNINGS", (health.environment_keys,))
        watch_keys()
        assert Client().get("/readyz").json()["status"] == "ok"
        strict_kms.keep_failing("DescribeKey", Fault.THROTTLE)
        name_key(cast, "alias/none-such")
        strict_kms.recover()
        forget_process()
        watch_keys()
        assert not DataKey.objects.filter(environment=cast.development).exists()
        reply = Client().get("/readyz")
        assert (reply.status_code, reply.json()["status"]) == (200, "degraded")
        assert "development" not in reply.text
        assert "alias" not in reply.text
        with pytest.raises(HealthFailure) as raised:
            health.environment_keys()
        assert "development" in raised.value.for_operators
        found = {each.name: each for each in status.standings(actor=cast.principal(cast.root))}
        assert found["alias/none-such"].state == "unhealthy"
        assert found["alias/none-such"].detail.endswith("for development")
        assert "development" in signed_in(cast.root).get("/health").text
        cast.development.refresh_from_db()
        name_key(cast, "")
        watch_keys()
        assert Client().get("/readyz").json()["status"] == "ok"

    def test_it_finds_an_arn_of_a_key_for_something_else(
        self, cast: Cast, kms_client: Any, strict_kms: Plan
    ) -> None:
        arn = kms_client.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["Arn"]
        strict_kms.keep_failing("DescribeKey", Fault.THROTTLE)
        name_key(cast, arn)
        strict_kms.recover()
        forget_process()
        watch_keys()
        with pytest.raises(HealthFailure):
            health.environment_keys()


def test_a_process_without_its_key_file_is_not_ready(settings: Settings) -> None:
    health.keys()
    forget_process()
    Path(settings.KEEPER_LOCAL_KEY_FILE).unlink()
    with pytest.raises(KeyringUnavailable, match="restore it from its backup"):
        health.keys()
    assert not Path(settings.KEEPER_LOCAL_KEY_FILE).exists()


def test_it_becomes_ready_when_the_key_is_back(settings: Settings) -> None:
    health.keys()
    key = Path(settings.KEEPER_LOCAL_KEY_FILE).read_bytes()
    forget_process()
    Path(settings.KEEPER_LOCAL_KEY_FILE).unlink()
    with pytest.raises(KeyringUnavailable):
        health.keys()
    Path(settings.KEEPER_LOCAL_KEY_FILE).write_bytes(key)
    health.keys()
