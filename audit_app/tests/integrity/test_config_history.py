import json

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from pytest_django import Settings

from audit_app.errors import KeyringUnavailable
from audit_app.events.actions import Action
from audit_app.integrity.config_history import exposed_fields, log_entries
from audit_app.interfaces import forget_keyring
from audit_app.middleware import RequestContextMiddleware
from audit_app.models import AuditEvent
from audit_app.tests.trail import ALICE, sql

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


def changes() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action=Action.CONFIGURATION_CHANGE).order_by("sequence"))


def test_a_change_of_configuration_is_tied_into_the_chain() -> None:
    group = Group.objects.create(name="operators")
    group.name = "admins"
    group.save()
    created, updated = changes()
    assert json.loads(created.details)["model"] == "auth.group"
    assert json.loads(updated.details)["entry"] == LogEntry.objects.get(action=LogEntry.Action.UPDATE).pk
    assert updated.actor_kind == "system"
    assert list(log_entries()) == []


def test_a_request_gives_its_changes_a_name_and_an_address() -> None:
    def view(_request: HttpRequest) -> HttpResponse:
        Group.objects.create(name="operators")
        return HttpResponse()

    request = RequestFactory(REMOTE_ADDR="192.0.2.9").get("/")
    request.principal = ALICE  # type: ignore[attr-defined]
    request.user = object()  # type: ignore[assignment]
    answer = RequestContextMiddleware(view)(request)
    (event,) = changes()
    assert (event.actor_name, event.address) == ("alice", "192.0.2.1")
    entry = LogEntry.objects.get()
    assert (entry.remote_addr, entry.cid) == ("192.0.2.9", answer["X-Request-ID"])
    assert list(log_entries()) == []


def test_a_request_of_nobody_acts_anonymously() -> None:
    def view(_request: HttpRequest) -> HttpResponse:
        Group.objects.create(name="operators")
        return HttpResponse()

    RequestContextMiddleware(view)(RequestFactory().get("/"))
    assert changes()[0].actor_kind == "anonymous"


def test_without_a_record_there_is_no_change(settings: Settings) -> None:
    settings.KEEPER_KEYRING = "audit_app.tests.keyring.LockedKeyring"
    forget_keyring()
    with pytest.raises(KeyringUnavailable), transaction.atomic():
        Group.objects.create(name="operators")
    assert not Group.objects.exists()


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE auditlog_logentry SET changes = '{}'", "edited"),
        ("UPDATE auditlog_logentry SET object_repr = 'x'", "edited"),
        ("UPDATE auditlog_logentry SET timestamp = '2020-01-01 00:00:00'", "edited"),
        ("DELETE FROM auditlog_logentry", "missing"),
    ],
)
def test_an_entry_tampered_with_is_named(statement: str, kind: str) -> None:
    Group.objects.create(name="operators")
    sql(statement)
    assert [problem.kind for problem in log_entries()] == [kind]


def test_an_entry_planted_is_named() -> None:
    Group.objects.create(name="operators")
    LogEntry.objects.bulk_create(
        [LogEntry(content_type=LogEntry.objects.get().content_type, object_pk="1", action=0)]
    )
    assert [problem.kind for problem in log_entries()] == ["inserted"]


def test_a_sealed_or_secret_column_that_would_be_copied_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from auditlog.registry import auditlog

    monkeypatch.setattr(
        auditlog, "get_model_fields", lambda _model: {"include_fields": [], "exclude_fields": ["mac"]}
    )
    assert exposed_fields(AuditEvent, frozenset({"details"})) == ["details", "previous_hash", "hash"]
    monkeypatch.setattr(
        auditlog, "get_model_fields", lambda _model: {"include_fields": ["at"], "exclude_fields": []}
    )
    assert exposed_fields(AuditEvent, frozenset({"details"})) == []
