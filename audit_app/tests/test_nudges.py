"""A nudge goes to a broker, or within the worker's own process; elsewhere it costs nothing."""

from typing import Any

import pytest
from celery import current_app
from kombu.exceptions import OperationalError
from pytest_django import Settings

from audit_app.tasks import record_refusals
from core.workers import has_backlog, nudge

TASK = "audit_app.tasks.record_refusals"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int]]]:
    messages: list[tuple[str, list[int]]] = []

    def note(name: str, args: list[int], **_options: Any) -> None:
        messages.append((name, args))

    monkeypatch.setattr(current_app, "send_task", note)
    return messages


@pytest.fixture
def _embedded(settings: Settings) -> None:
    settings.KEEPER_EMBEDDED_WORKER = True


def test_a_broker_gets_it_from_any_process(settings: Settings, sent: list[tuple[str, list[int]]]) -> None:
    settings.KEEPER_EMBEDDED_WORKER = False
    nudge(TASK, 7)
    assert sent == [(TASK, [7])]


def test_a_broker_that_is_away_raises_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_message: object, **_options: object) -> None:
        raise OperationalError("redis://:password@host")

    settings.KEEPER_EMBEDDED_WORKER = False
    monkeypatch.setattr(current_app, "send_task", refuse)
    nudge(TASK)
    assert "no worker could be nudged (OperationalError)" in caplog.text
    assert "password@" not in caplog.text


@pytest.mark.usefixtures("_embedded")
def test_without_a_broker_a_web_process_keeps_no_message(sent: list[tuple[str, list[int]]]) -> None:
    nudge(TASK)
    assert sent == []


@pytest.mark.usefixtures("_embedded")
def test_without_a_broker_a_task_reaches_its_own_worker(
    sent: list[tuple[str, list[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit_app.tasks.record_due", lambda: nudge(TASK, 7))
    record_refusals()
    assert sent == [(TASK, [7])]


@pytest.mark.usefixtures("_embedded")
def test_the_worker_sees_what_waits_in_its_memory(settings: Settings) -> None:
    app: Any = current_app
    with app.connection_for_read() as connection:
        queue = connection.default_channel.queue_purge
        queue(app.conf.task_default_queue)
        assert not has_backlog()
        app.send_task(TASK, connection=connection)
        assert has_backlog()
        settings.KEEPER_EMBEDDED_WORKER = False
        assert not has_backlog()
        queue(app.conf.task_default_queue)
