"""The history of configuration: which models it follows, what of them it keeps, and by whom."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from auditlog.models import LogEntry
from auditlog.registry import auditlog
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import models
from django.test import Client
from pytest_django import Settings

from audit_app.integrity.config_history import log_entries
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.models import AuditEvent
from environments_app.authorization.principals import system_principal
from environments_app.environments import groups, memberships
from environments_app.models import User
from environments_app.notifications.recipients import add_recipient
from environments_app.single_sign_on import group_mapping
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens.service import issue
from secrets_app.tests.kept import keep, send
from secrets_app.webhooks import add_webhook
from sync_app.rotation.policies import service as policies
from sync_app.tests.shown import make_target

CANARY: Final = "c4n4ry"
# What may be a credential, or gives one away; never in an entry.
SECRET_LIKE: Final = re.compile(r"mac$|hash|password|credential|sealed|secret_|seed|digest|data_key|session")
# Rows under a MAC that the history does not follow: their own events hold what was written.
BY_EVENTS: Final = {
    "environments_app.AccessConfirmation": "access.confirm",
    "environments_app.AccessRequest": "access.ask and its answer",
    "environments_app.Approval": "approval.ask and its decision",
    "environments_app.ApprovalEntry": "approval.comment and approval.decide",
    "environments_app.ProgramRelease": "secret.release and its end",
    "environments_app.Review": "review.start and its end",
    "environments_app.ReviewItem": "review.decide",
    "environments_app.SamlAssertion": "session.sign_in",
    "environments_app.EventSink": "sink.change",
    "environments_app.OidcClientKey": "sso_provider.change",
    "environments_app.OidcProvider": "sso_provider.change",
    "environments_app.ScimClient": "scim_client.change",
    "environments_app.ProvisionedUser": "user.provision",
    "environments_app.ProvisionedGroup": "group.change",
    "environments_app.SamlProvider": "saml_metadata.change",
    "environments_app.ConnectedSignIn": "user.change",
    "environments_app.Passkey": "second_factor.change",
    "environments_app.DeviceSignIn": "token.issue of its token",
    "environments_app.Departure": "user.offboard and user.move",
    "environments_app.PasswordLink": "user.change, when the password is chosen",
    "environments_app.PersonalToken": "token.issue and its end",
    "environments_app.SecondFactor": "second_factor.change",
    "secrets_app.KeyMigration": "key_migration.start and its end",
    "secrets_app.DepartureValue": "user.offboard, and secret.update where it is kept or assigned",
    "secrets_app.Secret": "secret.create and secret.update",
    "secrets_app.Share": "secret.share",
    "secrets_app.VersionOrigin": "secret.migrate",
    "secrets_app.WrappedRead": "secret.wrap",
    "sync_app.Acknowledgement": "rotation.acknowledge",
    "sync_app.Migration": "migration.plan, migration.apply and migration.stop",
    "sync_app.MigrationLine": "migration.plan",
    "sync_app.MountRule": "migration.apply",
    "sync_app.Plan": "target.plan",
    "sync_app.ReferenceConsent": "consent.give",
    "sync_app.Rotation": "rotation.step",
    "sync_app.Run": "target.request",
    "sync_app.SyncEntry": "target.apply",
}


def followed() -> list[type[models.Model]]:
    return list(auditlog.get_models())


def kept_of(model: type[models.Model]) -> set[str]:
    left_out = auditlog.get_model_fields(model)["exclude_fields"]
    return {field.name for field in model._meta.concrete_fields} - set(left_out)


@pytest.mark.parametrize("model", followed(), ids=lambda model: model._meta.label)
def test_no_column_that_is_secret_is_kept(model: type[models.Model]) -> None:
    kept = kept_of(model)
    assert {name for name in kept if SECRET_LIKE.search(name)} == set()
    binary = {field.name for field in model._meta.concrete_fields if isinstance(field, models.BinaryField)}
    assert kept & binary == set()


def test_what_decides_about_access_is_followed_or_has_events_of_its_own() -> None:
    authenticated = {model._meta.label for model in apps.get_models() if issubclass(model, AuthenticatedRow)}
    labels = {model._meta.label for model in followed()}
    assert authenticated - labels == BY_EVENTS.keys()
    for model in followed():
        many = {field for field in model._meta.many_to_many if _is_automatic(field)}
        assert {field.name for field in many} <= set(auditlog._registry[model]["m2m_fields"])


def _is_automatic(field: Any) -> bool:
    """Say whether the rows between are of no model of their own, that could be followed itself."""
    return bool(field.remote_field.through._meta.auto_created)


@pytest.fixture
def configured(cast: Cast) -> Cast:
    """Make a row of each followed model, with the canary in whatever is sealed."""
    operator, alice = system_principal(is_admin=True), cast.principal(cast.alice)
    place = cast.development
    group = groups.create_group(actor=operator, name="ops")
    groups.add_to_group(actor=operator, user=cast.bob, group=group)
    memberships.grant(actor=alice, environment=place, user=cast.charlie, role="viewer")
    group_mapping.map_group(actor=operator, group="ops", environment=place, role="reader")
    issue(actor=operator, environment=place, role="reader", name="build")
    add_recipient(actor=alice, environment=place, email="ops@example.com")
    add_webhook(actor=alice, environment=place, name="chat", url=f"https://hooks.example/{CANARY}")
    target = make_target(place)
    target.name = "renamed"
    target.save()
    make_trust(cast, Issuer("https://issuer.example"))
    policies.create(actor=alice, secret=keep(cast, "k"), rotator="generated", settings={}, credentials={})
    person = User.objects.create_user("person", password=CANARY)
    person.display_name = "Person"
    person.save()
    return cast


def test_each_followed_model_has_entries_tied_in_the_chain_without_secrets(configured: Cast) -> None:
    entries = list(LogEntry.objects.select_related("content_type"))
    found = {entry.content_type.model_class() for entry in entries}
    assert found == set(followed())
    for entry in entries:
        model = entry.content_type.model_class()
        assert model is not None
        names = set(entry.changes or {})
        assert names <= kept_of(model), (model, names)
        assert CANARY not in json.dumps(
            [entry.changes, entry.object_repr, entry.additional_data], default=str
        )
        assert entry.serialized_data is None
    assert list(log_entries()) == []


def test_permissions_of_a_group_are_followed_too(cast: Cast) -> None:
    group = Group.objects.create(name="ops")
    permission = Permission.objects.first()
    assert permission is not None
    group.permissions.add(permission)
    entry = LogEntry.objects.latest("pk")
    assert entry.changes["permissions"]["operation"] == "add"
    assert list(log_entries()) == []


@pytest.mark.parametrize(
    ("proxies", "address"), [(["127.0.0.1"], "203.0.113.7"), ([], "127.0.0.1")], ids=["behind", "pretended"]
)
def test_an_entry_names_the_person_and_where_they_are(
    cast: Cast, signed_in: Callable[[User], Client], settings: Settings, proxies: list[str], address: str
) -> None:
    settings.KEEPER_TRUSTED_PROXIES = proxies
    # The left one is what a client wrote itself.
    headers = {"x-forwarded-for": "198.51.100.1, 203.0.113.7"}
    path = f"/api/environments/{cast.development.name}"
    response = send(signed_in(cast.alice), "PATCH", path, {"description": "new"}, **headers)
    assert response.status_code == 200
    entry = LogEntry.objects.latest("pk")
    event = AuditEvent.objects.filter(action="configuration.change").latest("id")
    assert (entry.actor, entry.remote_addr, entry.cid) == (cast.alice, address, response["X-Request-ID"])
    assert (event.actor_name, event.address) == ("alice", address)
    assert entry.additional_data is None


def test_tokens_and_commands_have_a_name_there_as_well(cast: Cast, bearer: Callable[..., Client]) -> None:
    path = f"/api/environments/{cast.development.name}"
    assert send(bearer("manager", cast.development), "PATCH", path, {"description": "new"}).status_code == 200
    call_command("issue_token", "--environment", "development", "--role", "viewer", "--name", "cron")
    entries = LogEntry.objects.order_by("-pk")[:2]
    assert [entry.additional_data for entry in entries] == [
        {"actor": "system system"},
        {"actor": "token manager-token"},
    ]
    events = AuditEvent.objects.filter(action="configuration.change").order_by("-id")
    assert [event.actor_name for event in events[:2]] == ["system", "manager-token"]
