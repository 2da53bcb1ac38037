"""The page of the system: what it shows to whom, that nothing secret is on it, and what it lets start."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from core.config.variables import GROUPS, SOURCES, Source
from environments_app.models import User, UserRole
from environments_app.tests.cast import Cast
from operations_app.models import BackupRequest
from operations_app.system.installation import ADDRESSES, PLAIN, shown_settings
from operations_app.system.schedules import schedules
from operations_app.views import system
from operations_app.views.system import TABS

_MARK = "t0p-secret-mark"


@pytest.fixture
def root(cast: Cast, signed_in: Callable[..., Client]) -> Client:
    return signed_in(cast.root)


def tab(client: Client, name: str, **query: str) -> Any:
    return client.get(reverse("admin-system"), {"tab": name, **query})


def test_each_tab_has_its_section_alone(root: Client) -> None:
    for name in TABS:
        page = tab(root, name).content.decode()
        assert [each for each in TABS if f'id="{each}"' in page] == [name]
        assert all(f"?tab={each}" in page for each in TABS)
    assert all(name in tab(root, "settings").content.decode() for name in SOURCES)
    schedule = tab(root, "schedules").content.decode()
    assert all(entry in schedule for entry in django_settings.CELERY_BEAT_SCHEDULE)


@pytest.mark.parametrize("query", [{}, {"tab": "none"}])
def test_the_page_opens_with_its_first_tab(root: Client, query: dict[str, str]) -> None:
    assert root.get(reverse("admin-system"), query).context["tab"] == "installation"


def test_a_tab_asks_for_its_own_alone(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is slow, as the deployment checks, delays no other tab."""
    asked: list[str] = []

    def noting(name: str) -> Callable[..., Any]:
        real = getattr(system, name)

        def note(*arguments: Any, **options: Any) -> Any:
            asked.append(name)
            return real(*arguments, **options)

        return note

    names = ("build", "deployment_findings", "results", "standings", "queues", "schedules", "shown_settings")
    for name in names:
        monkeypatch.setattr(system, name, noting(name))
    found = {}
    for name in TABS:
        asked.clear()
        tab(root, name)
        found[name] = sorted(asked)
    assert found == {
        "installation": ["build"],
        "checks": ["deployment_findings"],
        "work": ["queues"],
        "schedules": ["schedules"],
        "settings": ["shown_settings"],
    }


@pytest.mark.parametrize(
    ("name", "most"),
    [
        # Eleven of them are the frame's.
        ("installation", 17), ("checks", 15), ("work", 26), ("schedules", 16), ("settings", 15),
    ],
)  # fmt: skip
def test_a_tab_takes_few_statements(root: Client, name: str, most: int) -> None:
    tab(root, name)
    with CaptureQueriesContext(connection) as statements:
        tab(root, name)
    assert len(statements) <= most


def test_each_setting_has_source_default_and_help(root: Client) -> None:
    declared = {variable.name for group in GROUPS for variable in group.variables}
    for each in shown_settings():
        assert bool(each.help) == (each.name in declared)
        assert each.source in set(Source)


def test_settings_are_searched_and_narrowed_to_changed_ones(
    root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "KEEPER_BACKUP_KEEP", Source.ENVIRONMENT)
    found = tab(root, "settings", q="backups", changed="1").context["settings"]
    assert "KEEPER_BACKUP_KEEP" in [each.name for each in found]
    assert all(each.changed for each in found)
    assert not tab(root, "settings", q="no such setting").context["settings"]


def test_what_may_be_a_credential_is_not_shown(root: Client, settings: Settings) -> None:
    for name in SOURCES.keys() - PLAIN:
        value = getattr(settings, name, None)
        if isinstance(value, str):
            setattr(settings, name, f"https://user:{_MARK}@host:8200/{_MARK}?token={_MARK}")
    settings.KEEPER_AUDIT_SINKS = [f"https://user:{_MARK}@collector/{_MARK}"]
    assert _MARK not in str([each.shown for each in shown_settings()])
    shown = {each.name: each.shown for each in shown_settings()}
    assert shown["KEEPER_AUDIT_SINKS"] == "https://collector"
    assert shown["SECRET_KEY"] == "set"


def test_nothing_secret_is_listed_as_plain() -> None:
    secret = {
        name
        for name in PLAIN | ADDRESSES
        if any(word in name for word in ("PASSW", "TOKEN", "SECRET_KEY", "PEPPER", "FERNET"))
    }
    assert secret == set()


@pytest.mark.django_db
def test_the_next_run_of_each_schedule_lies_ahead() -> None:
    found = schedules()
    assert [each.name for each in found] == sorted(django_settings.CELERY_BEAT_SCHEDULE)
    assert {each.name for each in found if each.next_at} >= {"back-up", "prune-trail"}
    assert next(each for each in found if each.name == "worker-heartbeat").often == "every 30 s"


def test_a_backup_is_requested(root: Client, cast: Cast, events: Callable[..., list[AuditEvent]]) -> None:
    assert root.post(reverse("backups"))["Location"] == reverse("backups")
    assert BackupRequest.objects.get().person == cast.root.uuid
    assert events(Action.BACKUP_REQUEST)


def test_an_unknown_backup_is_not_verified(root: Client) -> None:
    page = root.post(reverse("backups"), {"backup": "keeper-none.kbk"}, follow=True).content.decode()
    assert "here is no backup of this name" in page
    assert not BackupRequest.objects.exists()


def test_an_auditor_looks_and_starts_nothing(cast: Cast, signed_in: Callable[..., Client]) -> None:
    ada = signed_in(User.objects.create_user("ada", role=UserRole.AUDITOR))
    page = ada.get(reverse("backups"))
    assert (page.status_code, "Back up now" in page.content.decode()) == (200, False)
    assert ada.post(reverse("admin-system"), {"schedule": "back-up"}).status_code == 403
    assert ada.post(reverse("backups")).status_code == 403
    assert not BackupRequest.objects.exists()


@pytest.mark.parametrize("name", ["health", "backups"])
def test_what_was_a_tab_leads_to_its_page(root: Client, name: str) -> None:
    assert tab(root, name)["Location"] == reverse(name)


def test_others_do_not_get_in(cast: Cast, signed_in: Callable[..., Client]) -> None:
    assert signed_in(cast.alice).get(reverse("admin-system"))["Location"].startswith("/admin/login/")
