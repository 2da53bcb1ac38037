"""Fixtures of the sync's tests: systems to sync with."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from sync_app.backends.registry import BACKENDS
from sync_app.jobs import leases
from sync_app.jobs.leases import database_now
from sync_app.rotators.registry import ROTATORS
from sync_app.tests import systems
from sync_app.tests.systems import EVERY, FULL
from sync_app.tests.worlds import World

globals().update(systems.fixtures(BACKENDS, "world") | systems.fixtures(ROTATORS, "world"))

Jump = Callable[..., None]
right_now = timezone.now


@pytest.fixture(autouse=True)
def loopback_allowed(settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of `world` in the two systems that can do everything, and with EVERY_SYSTEM in each."""
    marks = metafunc.definition.iter_markers("parametrize")
    # The systems whose credentials rotate are another fixture, of the same name.
    rotates = metafunc.module.__name__.startswith(("sync_app.tests.rotation.", "sync_app.tests.rotators."))
    is_asked = "world" in metafunc.fixturenames and not rotates
    if is_asked and not any("world" in str(mark.args[0]) for mark in marks):
        names = EVERY if getattr(metafunc.module, "EVERY_SYSTEM", False) else FULL
        metafunc.parametrize("world", names, indirect=True)


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Jump:
    """Set the database's clock so many days off, and with `everybody` those of the workers as well."""

    def moved(days: int, *, everybody: bool = False) -> None:
        seconds = days * 86_400
        clocks = {
            "mysql": f"SELECT UTC_TIMESTAMP(6) + INTERVAL {seconds} SECOND",
            "sqlite": f"SELECT STRFTIME('%Y-%m-%d %H:%M:%f', 'now', '{seconds:+d} seconds')",
        }
        monkeypatch.setitem(leases._CLOCKS, connection.vendor, clocks[connection.vendor])
        ahead = timedelta(seconds=seconds if everybody else 0)
        monkeypatch.setattr(timezone, "now", lambda: right_now() + ahead)
        off = database_now() - right_now()
        assert abs(off - timedelta(seconds=seconds)) < timedelta(minutes=1)

    return moved
