"""Scheduled work: how it last ended, and running it ahead of its schedule."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from celery import current_app
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.errors import ConfirmationNeeded, Forbidden, InvalidField
from environments_app.models import User, UserRole
from environments_app.tests.cast import Cast
from operations_app.models import ScheduledTask
from operations_app.system import schedules as schedule_runs
from operations_app.system.schedules import schedules
from operations_app.tasks import clear_sessions, run_requested_tasks

pytestmark = pytest.mark.django_db
_TASK = "keeper_project.tasks.clear_sessions"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(schedule_runs, "nudge", found.append)
    return found


@pytest.fixture(autouse=True)
def nothing_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_runs, "_noted_at", {})


def test_a_run_in_a_worker_is_noted_and_a_direct_call_is_not() -> None:
    clear_sessions()
    assert not ScheduledTask.objects.exists()
    clear_sessions.apply()
    row = ScheduledTask.objects.get()
    assert (row.task, row.error, row.failures) == (_TASK, "", 0)
    assert row.started_at is not None


def test_a_failure_is_counted_until_the_next_success(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("operations_app.tasks.call_command", _fail)
        for _ in range(2):
            clear_sessions.apply()
    row = ScheduledTask.objects.get()
    assert (row.error, row.failures) == ("LookupError", 2)
    clear_sessions.apply()
    row.refresh_from_db()
    assert (row.error, row.failures) == ("", 0)


def _fail(_name: str) -> None:
    raise LookupError("a text that might quote anything")


def test_what_runs_all_the_time_is_noted_once_a_minute() -> None:
    for _ in range(2):
        run_requested_tasks.apply()
        first = ScheduledTask.objects.values_list("started_at", flat=True).get()
    run_requested_tasks.apply()
    assert ScheduledTask.objects.values_list("started_at", flat=True).get() == first


def test_a_task_outside_the_schedule_is_not_noted(settings: Settings) -> None:
    settings.CELERY_BEAT_SCHEDULE = {}
    clear_sessions.apply()
    assert not ScheduledTask.objects.exists()


def test_a_run_does_not_fail_because_it_could_not_be_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_task: str, **_columns: object) -> None:
        raise DatabaseError("locked")

    monkeypatch.setattr(schedule_runs, "_store", refuse)
    assert clear_sessions.apply().successful()


def test_a_requested_run_is_recorded_and_sent_once(
    cast: Cast, sent: list[str], events: Callable[..., list[AuditEvent]]
) -> None:
    schedule_runs.request_run(actor=cast.principal(cast.root), name="clear-sessions")
    assert events(Action.SCHEDULE_RUN)[0].object_name == "clear-sessions"
    assert sent == [schedule_runs.RUN_REQUESTED]
    for _ in range(2):
        schedule_runs.run_requested()
    assert sent == [schedule_runs.RUN_REQUESTED, _TASK]


def test_of_two_workers_that_saw_the_same_requests_one_sends_each(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def nudge(task: str) -> None:
        sent.append(task)
        # The other worker comes while this one has a request of its list still before it.
        schedule_runs.run_requested()

    monkeypatch.setattr(schedule_runs, "nudge", nudge)
    tasks = sorted({entry["task"] for entry in schedule_runs.entries().values()})[:3]
    for task in tasks:
        ScheduledTask.objects.create(task=task, requested_at=timezone.now())
    schedule_runs.run_requested()
    assert sorted(sent) == tasks


def test_old_requests_and_unknown_tasks_are_dropped(sent: list[str]) -> None:
    now = timezone.now()
    ScheduledTask.objects.create(task=_TASK, requested_at=now - timedelta(days=2))
    ScheduledTask.objects.create(task="celery.backend_cleanup", requested_at=now)
    schedule_runs.run_requested()
    assert sent == []
    assert not ScheduledTask.objects.filter(requested_at__isnull=False).exists()


def test_who_may_request_what(cast: Cast, sent: list[str]) -> None:
    root = cast.principal(cast.root)
    with pytest.raises(Forbidden):
        schedule_runs.request_run(actor=cast.principal(cast.alice), name="clear-sessions")
    for name in ("no-such", "sync-due"):
        with pytest.raises(InvalidField):
            schedule_runs.request_run(actor=root, name=name)
    for name in schedule_runs.ASKS_FOR_PROOF:
        with pytest.raises(ConfirmationNeeded):
            schedule_runs.request_run(actor=replace(root, confirmed=False), name=name)
    schedule_runs.request_run(actor=replace(root, confirmed=False), name="clear-sessions")
    assert sent == [schedule_runs.RUN_REQUESTED]


def test_a_task_that_is_requested_needs_no_arguments(settings: Settings) -> None:
    current_app.autodiscover_tasks(force=True)
    for entry in settings.CELERY_BEAT_SCHEDULE.values():
        assert not entry.get("args")
        assert not entry.get("kwargs")


def test_the_next_run_follows_the_last_one() -> None:
    at = timezone.now()
    ScheduledTask.objects.create(task="environments_app.tasks.expire_approvals", started_at=at)
    found = {each.name: each for each in schedules()}
    assert found["expire-approvals"].next_at == at + timedelta(seconds=300)
    assert found["sync-due"].next_at is None
    assert not found["sync-due"].requestable


def test_the_page_runs_work_for_administrators_alone(
    cast: Cast, signed_in: Callable[..., Client], settings: Settings
) -> None:
    page, work = reverse("admin-system"), {"schedule": "clear-sessions"}
    ada = signed_in(User.objects.create_user("ada", role=UserRole.AUDITOR))
    assert "Run now" not in ada.get(page).content.decode()
    assert ada.post(page, work).status_code == 403
    assert not ScheduledTask.objects.exists()
    root = signed_in(cast.root)
    assert "Choose scheduled work" in root.post(page, {"schedule": "x"}, follow=True).content.decode()
    answer = root.post(page, work, follow=True).content.decode()
    assert "waits for a worker" in answer
    assert ScheduledTask.objects.get().requested_by == "root"
    settings.KEEPER_REAUTH_SECONDS = -1
    assert root.post(page, {"schedule": "prune-trail"})["Location"].startswith(reverse("confirm"))
