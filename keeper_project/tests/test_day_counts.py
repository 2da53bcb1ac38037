"""Counts of days: those of the trail, of readable streams, kept once a day is over or for a moment."""

import time
from collections.abc import Callable
from datetime import UTC, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache.backends import locmem
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit_app.events.actions import Action, Outcome
from audit_app.events.streams import environment_stream
from audit_app.queries import statistics
from audit_app.queries.statistics import Kind, counts_by_day
from audit_app.tests.trail import write
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal
from environments_app.tests.cast import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
Sql = Callable[..., None]
DAYS = 4


@pytest.fixture(autouse=True)
def _clock_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no midnight pass in the middle of a test."""
    noon = timezone.now().replace(hour=12, minute=0)
    monkeypatch.setattr(timezone, "now", lambda: noon)


@pytest.fixture
def happen(cast: Cast, sql: Sql) -> Callable[..., None]:
    """Let something have happened in production some days ago, at noon."""
    stream = environment_stream(cast.production.uuid)

    def write_then(days_ago: int, **changed: Any) -> None:
        (receipt,) = write(stream=stream, **changed)
        noon = timezone.now().astimezone(UTC).replace(hour=12, minute=0, tzinfo=None)
        then = str(noon - timedelta(days=days_ago))
        sql("UPDATE audit_app_auditevent SET at = %s WHERE stream = %s AND sequence = %s",
            then, stream, receipt.sequence)  # fmt: skip

    return write_then


def totals(viewer: Principal) -> list[int]:
    return [sum(kinds.values()) for kinds in counts_by_day(viewer=viewer, days=DAYS).values()]


def test_days_are_counted_by_kind_for_those_who_may_read_the_stream(
    cast: Cast, happen: Callable[..., None]
) -> None:
    happen(2)
    happen(2, outcome=Outcome.DENIED)
    happen(1)
    happen(9)
    counted = counts_by_day(viewer=cast.principal(cast.alice), days=DAYS)

    stream = environment_stream(cast.production.uuid)
    today = timezone.now().astimezone(UTC).date()
    assert list(counted) == [today - timedelta(days=back) for back in (3, 2, 1, 0)]
    assert {kind: n for kind, n in counted[today - timedelta(days=2)].items() if kind.stream == stream} == {
        Kind(stream, Action.SECRET_REVEAL, Outcome.ALLOWED): 1,
        Kind(stream, Action.SECRET_REVEAL, Outcome.DENIED): 1,
    }
    # Who reads there, and does not manage, reads no trail: neither afresh nor from what is kept.
    assert totals(cast.principal(cast.charlie)) == [0, 0, 0, 0]


def test_a_day_that_is_over_is_counted_once_and_today_each_time(
    cast: Cast, happen: Callable[..., None]
) -> None:
    viewer = system_principal(is_admin=True)
    happen(2)
    before = totals(viewer)
    happen(2)
    happen(0)
    with CaptureQueriesContext(connection) as captured:
        after = totals(viewer)

    assert after == [before[0], before[1], before[2], before[3] + 1]
    assert len(captured) == 1


def test_a_day_of_many_events_is_counted_once_a_minute(
    happen: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_MANY", 1)
    viewer = system_principal(is_admin=True)
    happen(0)
    before = totals(viewer)
    happen(0)
    with CaptureQueriesContext(connection) as captured:
        assert totals(viewer) == before
    assert not captured
    later = time.time() + statistics._FRESH_SECONDS
    monkeypatch.setattr(locmem, "time", SimpleNamespace(time=lambda: later))
    assert totals(viewer)[-1] == before[-1] + 1
