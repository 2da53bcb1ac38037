"""Rotating keys: data keys under another key, values under new data keys, and what it costs."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.interfaces import Purpose, keyring
from audit_app.models import AuditEvent
from audit_app.verification.stream_verifier import verify
from environments_app.tests.cast import Cast, make_cast
from secrets_app.key_operations import reencrypt
from secrets_app.key_operations.reencrypt import replace
from secrets_app.key_operations.rotation import Rotation, rotations
from secrets_app.keys.data_keys import active_key, plain_key
from secrets_app.keys.providers.registry import provider
from secrets_app.maintenance.integrity_checks import versions as damaged_versions
from secrets_app.models import DataKey, Secret, SecretVersion
from secrets_app.services import lifecycle, read
from secrets_app.tests.kept import keep
from secrets_app.tests.keys.conftest import forget_process
from tests.aws_strict.faults import Fault, Plan

Sql = Callable[..., None]


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


def rotate(**options: Any) -> dict[str, Rotation]:
    """Rotate in a process of its own."""
    forget_process()
    told = options.pop("progress", lambda *_told: None)
    return {rotation.name: rotation for rotation in rotations(progress=told, **options)}


def another_key(kms_client: Any) -> str:
    arn: str = kms_client.create_key()["KeyMetadata"]["Arn"]
    return arn


def value(cast: Cast, secret: Secret) -> str:
    stored = Secret.objects.select_related("environment").get(pk=secret.pk)
    return read.reveal(actor=cast.principal(cast.alice), secret=stored).value


class TestAnotherKey:
    def test_every_data_key_moves_with_one_call_each_and_no_secret_is_touched(
        self, kms_key: str, kms_client: Any, cast: Cast, settings: Settings
    ) -> None:
        secret = keep(cast)
        active_key(cast.production)
        settings.KMS_KEY_ID = new = another_key(kms_client)
        envelope = SecretVersion.objects.get().value
        forget_process()
        keyring().open_all()
        before = provider().calls.copy()
        with CaptureQueriesContext(connection) as statements:
            done = list(rotations(progress=lambda *_told: None))
        count = DataKey.objects.count()
        assert provider().calls - before == {"ReEncrypt": count}
        assert sum(rotation.data_keys_rewrapped for rotation in done) == count == len(Purpose) + 2
        assert not any("secrets_app_secret" in statement["sql"] for statement in statements)
        assert set(DataKey.objects.values_list("key_uri", flat=True)) == {new}
        assert SecretVersion.objects.get().value == envelope
        forget_process()
        assert value(cast, secret) == "canary-4d1f-value"

    def test_the_old_key_is_needed_no_more(
        self, kms_key: str, kms_client: Any, cast: Cast, settings: Settings
    ) -> None:
        secret = keep(cast)
        settings.KMS_KEY_ID = new = another_key(kms_client)
        rotate()
        settings.KMS_ALLOWED_KEYS = [new]
        forget_process()
        assert value(cast, secret) == "canary-4d1f-value"
        assert not list(verify())

    def test_a_second_run_asks_for_nothing(
        self, kms_key: str, kms_client: Any, cast: Cast, settings: Settings
    ) -> None:
        keep(cast)
        settings.KMS_KEY_ID = another_key(kms_client)
        rotate()
        assert all(not rotation.data_keys_rewrapped for rotation in rotate().values())
        assert provider().calls["ReEncrypt"] == 0

    def test_only_the_environment_moves_that_was_named(
        self, kms_key: str, kms_client: Any, cast: Cast
    ) -> None:
        keep(cast)
        active_key(cast.production)
        cast.development.kms_key_alias = new = another_key(kms_client)
        cast.development.save()
        done = rotate(environment="development")
        assert list(done) == ["development"]
        assert DataKey.objects.get(key_uri=new).environment == cast.development

    def test_only_what_a_key_wraps_moves(self, kms_key: str, kms_client: Any, cast: Cast) -> None:
        cast.development.kms_key_alias = old = another_key(kms_client)
        cast.development.save()
        keep(cast)
        cast.development.kms_key_alias = ""
        cast.development.save()
        done = rotate(key=old)
        assert {name: rotation.data_keys_rewrapped for name, rotation in done.items()} == {"development": 1}
        assert not DataKey.objects.filter(key_uri=old).exists()

    def test_each_move_is_recorded(
        self, kms_key: str, kms_client: Any, cast: Cast, settings: Settings
    ) -> None:
        key = active_key(cast.development)
        settings.KMS_KEY_ID = new = another_key(kms_client)
        rotate(environment="development")
        event = AuditEvent.objects.get(action=Action.DATA_KEY_ROTATE)
        assert (event.object_uuid, event.stream) == (key.id, f"environment:{cast.development.uuid}")
        assert event.details == f'{{"from":"{kms_key}","step":"rewrap","to":"{new}"}}'

    def test_a_data_key_that_was_edited_stays_and_is_told(
        self, kms_key: str, kms_client: Any, cast: Cast, settings: Settings
    ) -> None:
        keep(cast)
        production = active_key(cast.production)
        stolen = DataKey.objects.get(environment=cast.development).wrapped_key
        DataKey.objects.filter(uuid=production.id).update(wrapped_key=stolen)
        settings.KMS_KEY_ID = another_key(kms_client)
        done = rotate()
        assert done["development"].ok
        assert not done["production"].ok
        assert DataKey.objects.get(uuid=production.id).key_uri == kms_key
        assert AuditEvent.objects.filter(
            action=Action.INTEGRITY_VIOLATION, object_uuid=production.id
        ).exists()

    def test_a_row_that_changed_meanwhile_is_not_overwritten(
        self, kms_key: str, kms_client: Any, cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = active_key(cast.development)
        settings.KMS_KEY_ID = another_key(kms_client)
        forget_process()
        rewrap = provider().rewrap

        def slowly(**asked: Any) -> bytes:
            DataKey.objects.filter(uuid=key.id).update(wrapped_key=b"a restore put this here")
            return rewrap(**asked)

        monkeypatch.setattr(provider(), "rewrap", slowly)
        list(rotations(environment="development", progress=lambda *_told: None))
        assert bytes(DataKey.objects.get(uuid=key.id).wrapped_key) == b"a restore put this here"
        assert not AuditEvent.objects.filter(action=Action.DATA_KEY_ROTATE).exists()

    def test_it_follows_no_row_that_somebody_else_wrote(self, cast: Cast, sql: Sql) -> None:
        keep(cast)
        sql("UPDATE environments_app_environment SET kms_key_alias = 'alias/planted'")
        assert "not written by Keeper" in rotate()["development"].problems[0]

    def test_aws_own_rotation_is_turned_on_where_it_is_asked_for(
        self, kms_key: str, kms_client: Any, cast: Cast, settings: Settings
    ) -> None:
        assert not rotate()["(system)"].rotation_turned_on
        settings.ENABLE_KMS_KEY_ROTATION = True
        assert [rotation.rotation_turned_on for rotation in rotate().values()] == [True, False, False]
        assert kms_client.get_key_rotation_status(KeyId=kms_key)["KeyRotationEnabled"]

    def test_a_key_that_cannot_rotate_by_itself_is_named_and_still_rotated_to(
        self, strict_kms: Plan, kms_client: Any, cast: Cast, settings: Settings
    ) -> None:
        settings.ENABLE_KMS_KEY_ROTATION = True
        keep(cast)
        settings.KMS_KEY_ID = new = another_key(kms_client)
        strict_kms.keep_failing("EnableKeyRotation", Fault.ACCESS_DENIED)
        done = rotate()
        assert all("kms:EnableKeyRotation" in rotation.problems[0] for rotation in done.values())
        assert set(DataKey.objects.values_list("key_uri", flat=True)) == {new}

    def test_throttling_is_waited_out(
        self, strict_kms: Plan, kms_client: Any, cast: Cast, settings: Settings
    ) -> None:
        keep(cast)
        settings.KMS_KEY_ID = new = another_key(kms_client)
        strict_kms.fail("ReEncrypt", Fault.THROTTLE, times=5)
        assert all(rotation.ok for rotation in rotate().values())
        assert set(DataKey.objects.values_list("key_uri", flat=True)) == {new}


@pytest.mark.every_database
class TestNewDataKeys:
    def test_values_are_sealed_under_a_new_data_key_and_open(self, cast: Cast) -> None:
        secrets = [keep(cast, f"app/{number}", f"value {number}") for number in range(5)]
        old = active_key(cast.development).id
        done = rotate(environment="development", reencrypt=True)["development"]
        assert (done.ok, done.values_resealed) == (True, 5)
        assert done.data_key != str(old)
        assert {str(row.value.data_key_id) for row in SecretVersion.objects.all()} == {done.data_key}
        assert {str(row.data_key_id) for row in SecretVersion.objects.all()} == {done.data_key}
        assert [value(cast, secret) for secret in secrets] == [f"value {number}" for number in range(5)]
        assert not list(damaged_versions())

    def test_each_batch_is_one_event_with_a_manifest(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reencrypt, "BATCH", 2)
        for number in range(5):
            keep(cast, f"app/{number}")
        told: list[tuple[Any, ...]] = []
        rotate(environment="development", reencrypt=True, progress=lambda *step: told.append(step))
        batches = AuditEvent.objects.filter(
            action=Action.DATA_KEY_ROTATE, details__contains='"step":"reseal"'
        ).order_by("sequence")
        assert [event.manifest.size for event in batches if event.manifest] == [2, 2, 1]
        assert told == [("development", done, 5, "values re-sealed") for done in (2, 4, 5)]

    def test_an_interrupted_run_is_taken_up_under_its_own_data_key(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reencrypt, "BATCH", 2)
        for number in range(5):
            keep(cast, f"app/{number}")
        active_key(cast.development)

        def killed(*_step: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            rotate(environment="development", reencrypt=True, progress=killed)
        keys = DataKey.objects.filter(environment=cast.development).count()
        done = rotate(environment="development", reencrypt=True)["development"]
        assert done.values_resealed == 3
        assert DataKey.objects.filter(environment=cast.development).count() == keys == 2
        assert not list(damaged_versions())

    def test_a_finished_run_is_followed_by_one_with_another_data_key(self, cast: Cast) -> None:
        keep(cast)
        first = rotate(environment="development", reencrypt=True)["development"].data_key
        second = rotate(environment="development", reencrypt=True)["development"]
        assert (second.values_resealed, second.data_key != first) == (1, True)

    def test_a_secret_that_is_purged_meanwhile_stays_purged(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept, purged = keep(cast, "kept"), keep(cast, "purged")

        def slowly(*asked: Any) -> int:
            stored = Secret.objects.select_related("environment").get(pk=purged.pk)
            lifecycle.delete(actor=cast.principal(cast.alice), secret=stored)
            lifecycle.purge(actor=cast.principal(cast.alice), secret=stored)
            monkeypatch.setattr(reencrypt, "replace", replace)
            return replace(*asked)

        monkeypatch.setattr(reencrypt, "replace", slowly)
        done = rotate(environment="development", reencrypt=True)["development"]
        assert (done.ok, done.values_resealed) == (True, 1)
        assert list(Secret.objects.values_list("pk", flat=True)) == [kept.pk]

    def test_a_version_that_was_sealed_again_meanwhile_is_not_overwritten(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keep(cast)
        other = []

        def slowly(fresh: Any, data_key: Any) -> int:
            monkeypatch.setattr(reencrypt, "replace", replace)
            other.append(fresh[0][1])
            assert replace(fresh, data_key) == 1
            return replace(fresh, data_key)

        monkeypatch.setattr(reencrypt, "replace", slowly)
        done = rotate(environment="development", reencrypt=True)["development"]
        assert (done.ok, done.values_resealed) == (True, 0)
        assert SecretVersion.objects.get().value.envelope == other[0]

    def test_what_does_not_open_stays_and_is_told_and_the_rest_goes_on(self, cast: Cast, sql: Sql) -> None:
        broken, sound = keep(cast, "broken"), keep(cast, "sound")
        stolen = SecretVersion.objects.get(secret=sound).value.envelope
        sql("UPDATE secrets_app_secretversion SET value = %s WHERE secret_id = %s", stolen, broken.pk)
        done = rotate(environment="development", reencrypt=True)["development"]
        assert done.values_resealed == 1
        assert [str(broken.uuid) in problem for problem in done.problems] == [True]
        assert SecretVersion.objects.get(secret=broken).value.envelope == stolen
        assert value(cast, sound) == "canary-4d1f-value"

    def test_one_that_was_overtaken_stops(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reencrypt, "BATCH", 1)
        for number in range(3):
            keep(cast, f"app/{number}")

        def overtaken(*_step: object) -> None:
            DataKey.objects.filter(active=True, environment=cast.development).update(active=None)

        done = rotate(environment="development", reencrypt=True, progress=overtaken)["development"]
        assert done.values_resealed == 0
        assert "replaced meanwhile" in done.problems[0]
        assert not list(damaged_versions())

    def test_the_old_data_key_still_opens_a_backup(self, cast: Cast) -> None:
        keep(cast)
        old = active_key(cast.development)
        rotate(environment="development", reencrypt=True)
        assert plain_key(old.id).material == old.material

    def test_an_environment_without_values_gets_no_data_key(self, cast: Cast) -> None:
        assert rotate(environment="production", reencrypt=True)["production"].data_key == ""
        assert not DataKey.objects.filter(environment=cast.production).exists()


def test_kms_is_asked_for_one_new_data_key_and_opens_each_old_one_once(kms_key: str, cast: Cast) -> None:
    for number in range(5):
        keep(cast, f"app/{number}")
    forget_process()
    keyring().open_all()
    before = provider().calls.copy()
    list(rotations(environment="development", reencrypt=True, progress=lambda *_told: None))
    assert provider().calls - before == {"GenerateDataKey": 1, "Decrypt": 1}
