"""The page of health tells age and remedy from rows, to operators, and asks nobody outside."""

import socket
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.checkpoints.signing import SIGNING
from audit_app.events.actions import Action
from audit_app.models import SinkState
from audit_app.sinks.registry import checkpoint_sinks
from environments_app.models import Delivery, DeliveryState, User
from environments_app.tests.cast import Cast
from operations_app.backup.create import record_backup
from operations_app.health import status
from operations_app.health import status as health_status
from operations_app.health.schema import installed_version
from operations_app.models import ExternalSystem
from operations_app.system.queues import work_status
from secrets_app.models import DataKey, WrappingKey
from sync_app.models import Target
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]
ARN = "arn:aws:kms:eu-central-1:123456789012:key/1"


@pytest.fixture
def look(cast: Cast) -> Callable[[], dict[str, health_status.SystemStatus]]:
    return lambda: {each.name: each for each in health_status.standings(actor=cast.principal(cast.root))}


def test_systems_tell_state_age_and_remedy(look: Callable[[], dict[str, health_status.SystemStatus]]) -> None:
    now = timezone.now()
    ExternalSystem.objects.create(kind="mail", state="unhealthy", detail="no", failures=1, checked_at=now)
    ExternalSystem.objects.create(kind="database", state="ok", milliseconds=3, checked_at=now)
    ExternalSystem.objects.create(kind="broker", state="ok", checked_at=now - timedelta(hours=1))
    found = look()
    assert (found["Mail server"].state, found["Mail server"].detail) == ("unhealthy", "no")
    assert "EMAIL_" in found["Mail server"].remedy
    assert (found["Database"].detail, found["Database"].remedy) == ("answered in 3 ms", "")
    # What nobody asked for an hour says nothing of now.
    assert (found["Message broker"].state, found["Message broker"].remedy) == (
        "unasked",
        status.SILENT_REMEDY,
    )
    # Nor is one in trouble that was never asked, as after the first start.
    assert (found["Redis"].state, found["Redis"].ails) == ("pending", False)


def test_a_key_tells_what_the_canary_found_of_it_and_of_what_it_wraps(
    cast: Cast, look: Callable[[], dict[str, health_status.SystemStatus]]
) -> None:
    now = timezone.now()
    for scope in (cast.development.uuid, cast.production.uuid):
        WrappingKey.objects.create(
            scope=scope, reference="alias/a", key_uri=ARN, state="Enabled", checked_at=now
        )
    assert (look()[ARN].state, look()[ARN].detail) == ("ok", "for development, production")
    key = DataKey.objects.create(
        purpose="values", provider="kms", key_uri=ARN, wrapped_key=b"w", active=True, check_problem="denied"
    )
    assert look()[ARN].detail == "1 data keys under it do not open; for development, production"
    WrappingKey.objects.update(problem="it is disabled")
    assert look()[ARN].detail.startswith("it is disabled")
    assert look()[ARN].remedy == status.KEY_REMEDY
    # A key that no environment names any more still has to open what it closed.
    WrappingKey.objects.all().delete()
    assert look()[ARN].remedy == status.DATA_KEY_REMEDY
    assert key.check_problem not in look()[ARN].detail


def test_sinks_and_targets_tell_what_they_last_did(
    cast: Cast, settings: Settings, look: Callable[[], dict[str, health_status.SystemStatus]]
) -> None:
    settings.KEEPER_AUDIT_SINKS = ["syslog://127.0.0.1:9", "file"]
    now = timezone.now()
    names = [sink.name for sink in checkpoint_sinks()]
    SinkState.objects.create(name=SIGNING, succeeded_at=now)
    SinkState.objects.create(name=names[0], failures=2, error="nobody listens")
    SinkState.objects.create(name="syslog of yesterday", failures=9, error="was taken out of the settings")
    make_target(cast.development)
    Target.objects.update(failures=1, last_error="the token was refused", last_failure_at=now)
    found = look()
    assert found["audit log signing"].state == "ok"
    assert (found[names[0]].detail, found[names[0]].state) == ("nobody listens", "unhealthy")
    assert found[names[1]].state == "pending"
    assert "syslog of yesterday" not in found
    (target,) = [each for each in found.values() if each.group == health_status.GROUPS[-1]]
    assert (target.detail, target.at, bool(target.url)) == ("the token was refused", now, True)
    Target.objects.update(failures=0, paused_at=now)
    assert look()[target.name].state == "paused"


def test_the_page_asks_nobody_outside_even_where_everything_is_configured(
    cast: Cast, signed_in: SignedIn, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = signed_in(cast.root)
    person.get("/health")
    settings.EMAIL_HOST = "mail.example.com"
    settings.KEEPER_EMBEDDED_WORKER = False
    settings.KEEPER_SAML, settings.KEEPER_SAML_METADATA_URL = True, "https://idp.example.com/metadata"
    settings.KEEPER_AUDIT_SINKS = ["syslog://127.0.0.1:9", "https://siem.example.com/in", "s3://bucket"]
    make_target(cast.development)

    def ask(*_arguments: object, **_options: object) -> None:
        pytest.fail("the page connected to another system")

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    monkeypatch.setattr(socket.socket, "connect", ask)
    for path in ("/health", "/"):
        assert person.get(path).status_code == 200


def test_the_page_shows_each_state_by_word_and_the_dashboard_leads_there(
    cast: Cast, signed_in: SignedIn
) -> None:
    ExternalSystem.objects.create(
        kind="mail", state="unhealthy", detail="<gone>", failures=2, checked_at=timezone.now()
    )
    person = signed_in(cast.root)
    text = person.get("/health").content.decode()
    assert f'<span class="quiet">Keeper {installed_version()}</span>' in text
    assert "&lt;gone&gt;" in text
    assert "Check the EMAIL_ variables" in text
    assert "All systems operational" not in text
    assert 'href="/health"' in person.get("/").content.decode()
    assert 'href="/health"' not in signed_in(cast.alice).get("/").content.decode()


def test_a_missing_backup_and_a_lost_message_are_not_well(
    cast: Cast, settings: Settings, signed_in: SignedIn
) -> None:
    def look() -> dict[str, health_status.SystemStatus]:
        return {each.name: each for each in work_status()}

    assert (look()["Backups"].state, look()["Backups"].detail) == ("degraded", "no backup yet")
    assert look()["Messages"].state == "ok"
    record_backup(cast.principal(cast.root), Action.BACKUP_FINISH, cast.root.uuid, "keeper.kbk", {})
    assert look()["Backups"].state == "ok"
    Delivery.objects.create(
        transport="email", addressee=cast.root.uuid, kind="test", subject="x", state=DeliveryState.FAILED
    )
    # Without a mail server nothing is mailed to people, and nothing is lost.
    assert look()["Messages"].state == "ok"
    settings.EMAIL_HOST = "mail.example.com"
    assert (look()["Messages"].state, look()["Messages"].detail) == ("degraded", "1 not delivered")
    person = signed_in(cast.root)
    for path in ("/", "/health"):
        page = person.get(path).content.decode()
        assert "1 not delivered" in page, path
        assert "All systems operational" not in page, path
