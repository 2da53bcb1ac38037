"""Scheduled work: the heartbeat, and sessions that have ended."""

import weakref
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from celery import current_app
from django.conf import settings as configured
from django.utils import timezone
from pytest_django import Settings

from audit_app import tasks as audit_tasks
from core import workers
from environments_app.models import Session
from operations_app import tasks as project_tasks
from operations_app.health.processes import last_beat
from operations_app.tasks import beat_heartbeat, clear_sessions
from secrets_app import tasks as secrets_tasks


class TaskFailed(Exception):
    """Of a class of its own: those of Python take no weak references."""


def test_the_heartbeat_is_noted(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path
    beat_heartbeat()
    assert last_beat() is not None


def test_the_heartbeat_frees_what_failed_tasks_left_in_circles(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path
    left = TaskFailed()
    left.__cause__ = ValueError("for a reason")
    left.__cause__.__context__ = left
    reference = weakref.ref(left)
    del left
    before, _, after = reference() is not None, beat_heartbeat(), reference() is not None
    assert (before, after) == (True, False)


@pytest.mark.django_db
def test_sessions_that_ended_are_deleted() -> None:
    for key, hours in (("ended", -1), ("running", 1)):
        Session.objects.create(
            session_key=key, session_data="", expire_date=timezone.now() + timedelta(hours=hours)
        )
    clear_sessions()
    assert list(Session.objects.values_list("session_key", flat=True)) == ["running"]


def test_every_scheduled_task_exists() -> None:
    current_app.autodiscover_tasks(force=True)
    scheduled = {entry["task"] for entry in configured.CELERY_BEAT_SCHEDULE.values()}
    assert scheduled <= set(current_app.tasks)


def test_work_without_a_slot_is_left_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_concurrency", 10)
    nudged: list[tuple[object, ...]] = []
    for module in (audit_tasks, project_tasks):
        monkeypatch.setattr(module, "nudge", lambda *task, after: nudged.append((*task, after)))
    with ExitStack() as held:
        for kind in "abcde":
            held.enter_context(workers.slot(kind))
        for task in (
            audit_tasks.deliver_checkpoints,
            audit_tasks.stream_events,
            audit_tasks.prune_trail,
            project_tasks.send_report,
            project_tasks.back_up_if_due,
            project_tasks.carry_out_backup_requests,
            project_tasks.check_systems,
            secrets_tasks.sweep_integrity,
        ):
            # Without a database: it asks for nothing.
            task()
        project_tasks.send_digest(7)
    assert sorted(nudged) == [
        ("audit_app.tasks.prune_trail", 60.0),
        ("keeper_project.tasks.back_up_if_due", 10.0),
        ("keeper_project.tasks.send_digest", 7, 10.0),
        ("keeper_project.tasks.send_report", 10.0),
    ]
