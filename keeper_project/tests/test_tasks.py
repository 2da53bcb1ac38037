"""Scheduled work: the heartbeat, and sessions that have ended."""

from datetime import timedelta
from pathlib import Path

import pytest
from celery import current_app
from django.conf import settings as configured
from django.utils import timezone
from pytest_django import Settings

from environments_app.models import Session
from keeper_project.runtime.heartbeat import last_beat
from keeper_project.tasks import beat_heartbeat, clear_sessions


def test_the_heartbeat_is_noted(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path
    beat_heartbeat()
    assert last_beat() is not None


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
