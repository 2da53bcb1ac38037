"""Fixtures of the adversary suite: the adversary of each backend."""

import pytest
from celery import current_app
from pytest_django import Settings

from sync_app.backends.registry import BACKENDS
from sync_app.tests.adversary.worlds import Make
from sync_app.tests.systems import fixtures

globals().update(fixtures(BACKENDS, "adversary"))


@pytest.fixture(autouse=True)
def _no_nudges(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.KEEPER_EMBEDDED_WORKER = False
    monkeypatch.setattr(current_app, "send_task", lambda *_, **__: None)


@pytest.fixture
def make_world(request: pytest.FixtureRequest, backend: str) -> Make:
    """Return what makes the adversary of a backend."""
    made: Make = request.getfixturevalue(f"{backend}_adversary")
    return made
