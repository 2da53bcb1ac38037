"""Fixtures of the engine's tests: a target in each system, and what is done with it in a few words."""

import pytest
from celery import current_app
from pytest_django import Settings

from environments_app.tests.cast import Cast
from sync_app.applying import batch, item_actions
from sync_app.jobs import worker_pool
from sync_app.models import Target
from sync_app.planning import discovery
from sync_app.planning.discovery import Finding
from sync_app.tests.applying.in_step import assert_in_step
from sync_app.tests.applying.stage import Stage
from sync_app.tests.worlds import World
from tests.processes import database

__all__ = ["database"]


@pytest.fixture(autouse=True)
def nudges(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[int, ...]]]:
    """Collect the messages to workers instead of sending them."""
    settings.KEEPER_EMBEDDED_WORKER = False
    sent: list[tuple[str, tuple[int, ...]]] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, args, **_: sent.append((name, tuple(args))))
    return sent


@pytest.fixture(autouse=True)
def _no_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a look count for as long as a busy machine takes; test_many.py looks at what is too old."""
    monkeypatch.setattr(item_actions, "FRESH_SECONDS", 3600.0)


@pytest.fixture(autouse=True)
def _no_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once: what is not shown here is not there; tests of nodes that lag look at the pauses."""
    for module in (batch, discovery):
        monkeypatch.setattr(module, "LOOK_PAUSES", (0.0,))


@pytest.fixture(autouse=True)
def _short_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold each finding that a pass takes for in step against what every step would find out about it."""
    is_in_step = discovery._is_in_step

    def checked(target: Target, finding: Finding) -> bool:
        found = is_in_step(target, finding)
        if found:
            assert_in_step(target, finding)
        return found

    monkeypatch.setattr(discovery, "_is_in_step", checked)


@pytest.fixture(autouse=True)
def _no_pauses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write without the pauses that systems ask for: GitHub takes one write a second; test_pauses.py looks at them."""
    if "test_pauses" not in request.module.__name__:
        monkeypatch.setattr(worker_pool.RateLimiter, "wait", lambda _: None)


@pytest.fixture
def stage(cast: Cast, world: World) -> Stage:
    return Stage(cast, world)
