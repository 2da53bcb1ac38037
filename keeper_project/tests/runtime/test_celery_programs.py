"""Celery's programs under Keeper: a task that ends its process, and programs that nobody could reach."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, shared_task
from celery.beat import ScheduleEntry
from celery.worker import state
from django.db.migrations.recorder import MigrationRecorder
from pytest_django import Settings

from keeper_project.celery import TaskEnded, app
from keeper_project.runtime.worker import celery_programs


@pytest.fixture(autouse=True)
def _plain_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker of `celery worker`: that of `keeper run`, which another test may have made, has a step more."""
    monkeypatch.setitem(app.steps, "worker", set())


@shared_task(name="keeper_project.tests.runtime.test_celery_programs.ends")
def ends(error: str) -> None:
    """End the process that runs it, as a library may."""
    raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt, "MemoryError": MemoryError}[
        error
    ]


@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt"])
def test_a_task_that_ends_its_process_fails(error: str) -> None:
    task: Any = ends
    with pytest.raises(TaskEnded, match=error):
        task(error)


@pytest.mark.parametrize("is_worker", [True, False])
def test_a_task_without_memory_ends_its_worker_and_no_other_process(
    monkeypatch: pytest.MonkeyPatch, *, is_worker: bool
) -> None:
    task: Any = ends
    ended: list[bool] = []
    monkeypatch.setattr(celery_programs, "end_worker", lambda: ended.append(True))
    task.push_request(called_directly=not is_worker)
    try:
        with pytest.raises(MemoryError):
            task("MemoryError")
    finally:
        task.pop_request()
    assert ended == [True] * is_worker


def test_a_worker_that_is_held_up_is_ended_without_memory_for_a_thread_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(state, "should_stop", None)
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(threading, "Thread", no_memory)
    celery_programs.end_worker()
    assert codes == [os.EX_SOFTWARE]
    assert state.should_stop == os.EX_SOFTWARE


def no_memory(**_given: object) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("make", [app.Beat, lambda: app.Worker(pool_cls="threads")])
def test_a_program_that_no_process_could_reach_refuses_to_start(
    make: Callable[[], object], settings: Settings
) -> None:
    settings.KEEPER_EMBEDDED_WORKER = True
    with pytest.raises(SystemExit, match="Set REDIS_URL or CELERY_BROKER_URL"):
        make()


@pytest.mark.django_db
def test_a_worker_does_not_start_on_the_schema_of_the_release_before(settings: Settings) -> None:
    settings.KEEPER_EMBEDDED_WORKER = False
    MigrationRecorder.Migration.objects.filter(app="sync_app", name="0002_claimed_from").delete()
    with pytest.raises(SystemExit, match=r"run keeper init-db: sync_app\.0002_claimed_from"):
        app.Worker(pool_cls="threads")


@pytest.mark.parametrize("make", [app.Beat, lambda: app.Worker(pool_cls="threads")])
def test_a_program_whose_settings_keeper_run_refuses_does_not_start(
    make: Callable[[], object], settings: Settings
) -> None:
    settings.KEEPER_EMBEDDED_WORKER, settings.SECRET_KEY = False, "change-me"
    with pytest.raises(SystemExit, match=r"^keeper\.E002: SECRET_KEY is short"):
        make()


def test_beat_does_not_compare_its_schedule_before_each_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScheduleEntry, "__eq__", lambda *_both: pytest.fail("compared"))
    celery = Celery(set_as_current=False)
    celery.conf.beat_schedule = {"later": {"task": "later", "schedule": 60.0}}
    schedule = celery_programs.Schedule(app=celery, schedule_filename=str(tmp_path / "schedule"))
    try:
        assert 50 < schedule.tick() <= 60
        assert 50 < schedule.tick() <= 60
    finally:
        schedule.close()
