"""Secrets in the admin: no value, no sealed column, and no way round the use cases."""

import json
from collections.abc import Callable

import pytest
from celery import current_app
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from kombu.exceptions import OperationalError
from pytest_django import Settings

from audit_app.models import AuditEvent
from environments_app.models import Membership, Role, User
from environments_app.tests.cast import Cast
from secrets_app.models import DataKey, Secret, SecretVersion
from secrets_app.services import write
from secrets_app.types.registry import SecretType

pytestmark = pytest.mark.django_db
VALUE = "canary-91c2"
SignedIn = Callable[[User], Client]


@pytest.fixture
def secret(cast: Cast) -> Secret:
    return write.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="payments/db",
        secret_type=SecretType.PASSWORD,
        value=VALUE,
    )


@pytest.fixture
def operator(cast: Cast, signed_in: SignedIn) -> Client:
    return signed_in(cast.root)


def _form(**fields: str) -> dict[str, str]:
    return {
        "secret_type": "PASSWORD",
        "description": "",
        "owner": "",
        "tags": "",
        "value": "",
        "comment": "",
    } | fields


def test_its_pages_show_no_value_and_no_sealed_column(operator: Client, secret: Secret) -> None:
    version = SecretVersion.objects.get(secret=secret)
    envelope, mac = version.value.envelope, bytes(secret.row_mac)
    for path in (
        "secret/",
        f"secret/{secret.pk}/change/",
        "secretversion/",
        f"secretversion/{version.pk}/change/",
        "datakey/",
    ):
        page = operator.get(f"/admin/secrets_app/{path}")
        assert page.status_code == 200, path
        for hidden in (
            VALUE,
            envelope.hex(),
            repr(envelope)[2:40],
            mac.hex(),
            bytes(version.fingerprint).hex(),
        ):
            assert hidden not in page.content.decode(), path


def test_an_operator_without_a_membership_writes_nothing(
    operator: Client, cast: Cast, secret: Secret
) -> None:
    operator.post(f"/admin/secrets_app/secret/{secret.pk}/change/", _form(value="changed"))
    operator.post(f"/admin/secrets_app/secret/{secret.pk}/delete/", {"post": "yes"})
    operator.post(
        "/admin/secrets_app/secret/add/",
        _form(environment=str(cast.development.pk), name="new", value="v"),
    )
    assert list(Secret.objects.values_list("name", "current_number", "live")) == [("payments/db", 1, True)]
    denied = AuditEvent.objects.filter(outcome="denied").values_list("action", flat=True)
    assert set(denied) == {"secret.update", "secret.delete", "secret.create"}


def test_with_a_membership_it_goes_through_the_use_cases(
    operator: Client, cast: Cast, secret: Secret
) -> None:
    Membership.objects.create(environment=cast.development, user=cast.root, role=Role.EDITOR)
    form = _form(value="second value", tags="b, a", comment="rotated by hand")
    assert operator.post(f"/admin/secrets_app/secret/{secret.pk}/change/", form).status_code == 302
    stored = Secret.objects.get(pk=secret.pk)
    assert (stored.current_number, stored.tags) == (2, ["a", "b"])
    assert stored.is_authentic()
    added = _form(environment=str(cast.development.pk), name="new", value="a fresh one")
    assert operator.post("/admin/secrets_app/secret/add/", added).status_code == 302
    operator.post(f"/admin/secrets_app/secret/{secret.pk}/delete/", {"post": "yes"})
    assert Secret.objects.get(pk=secret.pk).live is None
    assert {"second value", "a fresh one"}.isdisjoint(
        LogEntry.objects.values_list("change_message", flat=True)
    )
    assert not LogEntry.objects.filter(change_message__contains="second value").exists()


def test_a_bad_value_is_a_message_that_does_not_repeat_it(operator: Client, cast: Cast) -> None:
    Membership.objects.create(environment=cast.development, user=cast.root, role=Role.EDITOR)
    form = _form(environment=str(cast.development.pk), name="new", value="{canary", secret_type="JSON")
    page = operator.post("/admin/secrets_app/secret/add/", form, follow=True)
    assert page.status_code == 200
    assert not Secret.objects.exists()
    errors = page.context["adminform"].form.errors
    assert list(errors) == ["value"]
    assert "JSON" in str(errors)
    assert "{canary" not in page.text


def test_secrets_are_tagged_renamed_and_moved(operator: Client, cast: Cast, secret: Secret) -> None:
    for environment in (cast.development, cast.production):
        Membership.objects.create(environment=environment, user=cast.root, role=Role.MANAGER)
    acts = f"/admin/secrets_app/secret/{secret.pk}/acts"
    operator.post(f"{acts}/tag/", {"tags": "one, two"})
    operator.post(f"{acts}/untag/", {"tags": "one"})
    operator.post(f"{acts}/rename/", {"name": "renamed/key"})
    operator.post(f"{acts}/move/", {"environment": cast.production.pk})
    moved = Secret.objects.get(environment=cast.production)
    assert (moved.name, moved.tags, moved.live) == ("renamed/key", ["two"], True)
    assert Secret.objects.get(pk=secret.pk).live is None


def test_a_name_that_is_taken_is_shown_at_its_field(operator: Client, cast: Cast, secret: Secret) -> None:
    Membership.objects.create(environment=cast.development, user=cast.root, role=Role.MANAGER)
    page = operator.post(f"/admin/secrets_app/secret/{secret.pk}/acts/rename/", {"name": "a//b"})
    assert page.context["form"].errors
    assert Secret.objects.get().name == secret.name


def test_versions_and_data_keys_can_only_be_looked_at(operator: Client, secret: Secret) -> None:
    version = SecretVersion.objects.get(secret=secret)
    for path in ("secretversion/add/", "datakey/add/", f"secretversion/{version.pk}/delete/"):
        assert operator.get(f"/admin/secrets_app/{path}").status_code == 404, path


def test_every_model_of_keeper_is_in_the_admin() -> None:
    from django.apps import apps

    ours = ("audit_app", "environments_app", "secrets_app", "sync_app")
    missing = [
        model.__name__
        for label in ours
        for model in apps.get_app_config(label).get_models()
        if not admin.site.is_registered(model)
    ]
    assert missing == []


class TestDataKeys:
    @pytest.fixture
    def row(self, secret: Secret) -> DataKey:
        return DataKey.objects.get(environment=secret.environment)

    def test_it_has_those_chosen_checked_by_a_worker(self, operator: Client, row: DataKey) -> None:
        posted = {"action": "check_now", "_selected_action": [row.pk]}
        page = operator.post("/admin/secrets_app/datakey/", posted, follow=True)
        assert list(DataKey.objects.exclude(check_requested_at=None)) == [row]
        event = AuditEvent.objects.get(action="data_key.check")
        assert json.loads(event.details) == {"count": 1, "data_keys": [str(row.uuid)]}
        assert "A worker checks 1 data keys" in page.text
        assert 'value="delete_selected"' not in page.text

    def test_a_broker_that_is_away_loses_no_request(
        self, operator: Client, row: DataKey, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unreachable(*_message: object, **_options: object) -> None:
            raise OperationalError("redis://:password@host")

        settings.KEEPER_EMBEDDED_WORKER = False
        monkeypatch.setattr(current_app, "send_task", unreachable)
        posted = {"action": "check_now", "_selected_action": [row.pk]}
        page = operator.post("/admin/secrets_app/datakey/", posted, follow=True)
        assert "A worker checks 1 data keys" in page.text
        assert "password@" not in page.text
        assert list(DataKey.objects.exclude(check_requested_at=None)) == [row]

    @pytest.mark.parametrize(
        ("choice", "problem", "checked", "shown"),
        [
            ("no", "disabled", True, True),
            ("no", "", True, False),
            ("yes", "", True, True),
            ("yes", "", False, False),
            ("unknown", "", False, True),
        ],
    )
    def test_it_finds_those_that_do_not_open(
        self, operator: Client, row: DataKey, choice: str, problem: str, checked: bool, shown: bool
    ) -> None:
        row.check_problem, row.checked_at = problem, timezone.now() if checked else None
        row.save()
        page = operator.get(f"/admin/secrets_app/datakey/?opens={choice}&purpose__exact=values")
        assert (f"/datakey/{row.pk}/change/" in page.text) == shown

    def test_it_finds_the_one_that_a_log_names(self, operator: Client, row: DataKey) -> None:
        page = operator.get(f"/admin/secrets_app/datakey/?q={row.uuid}")
        assert page.text.count("field-key_uri") == 1
        assert operator.get("/admin/secrets_app/datakey/?q=nonsense").status_code == 200
