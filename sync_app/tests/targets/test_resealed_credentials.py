"""Credentials of targets and webhooks under new data keys: they open, and what changed meanwhile stays."""

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from audit_app.verification.stream_verifier import verify
from environments_app.tests.cast import Cast
from secrets_app.key_operations import reencrypt
from secrets_app.key_operations import report as key_operations_report
from secrets_app.key_operations.migration import service as key_migration_verify
from secrets_app.key_operations.rotation import Rotation, rotations
from secrets_app.keys.encrypted_field import EncryptedField
from secrets_app.keys.sealed_columns import credential_fields
from secrets_app.models import EnvironmentSnapshot, PendingValue, SecretVersion, Webhook
from secrets_app.webhooks import add_webhook
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.models import KeptCopy, RotationPolicy, SourceCredentials, Target
from sync_app.targets import service as targets
from sync_app.targets.credentials import open_backend
from sync_app.tests.making import made

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


def rotate() -> Rotation:
    (done,) = rotations(environment="development", reencrypt=True, progress=lambda *_told: None)
    return done


def hook(cast: Cast) -> Webhook:
    made, _ = add_webhook(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="chat",
        url="https://127.0.0.1/hook",
    )
    return made


def test_every_sealed_column_is_known() -> None:
    sealed = {model for model in apps.get_models() for field in model._meta.get_fields() if _seals(field)}
    assert (
        {field.model for field in credential_fields()}
        == sealed - {SecretVersion, EnvironmentSnapshot}
        == {KeptCopy, PendingValue, RotationPolicy, SourceCredentials, Target, Webhook}
    )


def _seals(field: Any) -> bool:
    return isinstance(field, EncryptedField)


def test_they_are_sealed_under_the_new_data_key_and_open(cast: Cast, vault: VaultWorld) -> None:
    target, webhook = made(cast, vault), hook(cast)
    done = rotate()
    assert (done.problems, done.credentials_resealed) == ([], 2)
    stored = Target.objects.select_related("environment").get()
    assert {str(row.data_key_id) for row in (stored, Webhook.objects.get())} == {done.data_key}
    assert {str(row.data_key_id) for row in (stored.credentials, Webhook.objects.get().sealed)} == {
        done.data_key
    }
    assert stored.is_authentic()
    with open_backend(actor=cast.principal(cast.alice), target=stored) as backend:
        backend.check_connection()
    events = AuditEvent.objects.filter(action=Action.DATA_KEY_ROTATE)
    for row in (target, webhook):
        assert events.filter(details__contains=str(row.uuid)).count() == 1
    (report,) = key_operations_report.reports("development")
    assert [(key.active, key.credentials) for key in report.data_keys] == [(False, 0), (True, 2)]
    assert not list(verify())


def test_credentials_that_were_changed_meanwhile_are_not_overwritten(
    cast: Cast, vault: VaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, record = made(cast, vault), reencrypt._record

    def slowly(environment: Any, key: Any, details: Any, **options: Any) -> Any:
        receipt = record(environment, key, details, **options)
        if details.get("row"):
            monkeypatch.setattr(reencrypt, "_record", record)
            targets.change_credentials(
                actor=cast.principal(cast.alice), target=target, credentials=vault.credentials
            )
            changed.append(Target.objects.get().credentials)
        return receipt

    changed: list[Any] = []
    monkeypatch.setattr(reencrypt, "_record", slowly)
    done = rotate()
    assert (done.ok, done.credentials_resealed) == (True, 0)
    assert [Target.objects.get().credentials] == changed


def test_what_does_not_open_stays_and_is_told_and_the_rest_goes_on(
    cast: Cast, vault: VaultWorld, sql: Callable[..., None]
) -> None:
    target, webhook = made(cast, vault), hook(cast)
    stolen = webhook.sealed.envelope
    sql("UPDATE sync_app_target SET credentials = %s", stolen)
    done = rotate()
    assert (len(done.problems), done.credentials_resealed) == (1, 1)
    assert str(target.uuid) in done.problems[0]
    assert Target.objects.get().credentials.envelope == stolen


def test_a_dry_run_of_a_migration_proves_them_and_names_what_does_not_open(
    cast: Cast, vault: VaultWorld, sql: Callable[..., None]
) -> None:
    target, webhook = made(cast, vault), hook(cast)
    proven = list(key_migration_verify.prove_credentials(cast.development))
    assert proven == ["", ""]
    events = AuditEvent.objects.filter(action=Action.DATA_KEY_OPEN, details__contains='"step":"prove"')
    assert [sum(str(row.uuid) in event.details for event in events) for row in (target, webhook)] == [1, 1]
    sql("UPDATE sync_app_target SET credentials = %s", webhook.sealed.envelope)
    spoilt = sorted(key_migration_verify.prove_credentials(cast.development))
    assert spoilt == ["", f"target.credentials {target.uuid}: the credential does not open"]
    assert not list(key_migration_verify.prove_credentials(cast.production))
