from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings

from audit_app.errors import TooManyRefusals
from audit_app.models import AuditEvent, RefusalCount
from audit_app.recording import refusals
from audit_app.recording.refusals import check_allowance, record_due, refuse
from audit_app.tasks import record_refusals

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 24, 12, 0, 20, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Clock:
    settings.KEEPER_REFUSALS_PER_MINUTE = 3
    clock = Clock()
    monkeypatch.setattr(refusals, "timezone", clock)
    return clock


def turn_away(times: int, address: str = "192.0.2.1", kind: str = "bad-token") -> None:
    for _ in range(times):
        refuse(kind=kind, address=address)


def test_refusals_are_counted_by_minute_address_and_kind(clock: Clock) -> None:
    turn_away(2)
    turn_away(1, kind="bad-password")
    turn_away(1, address="192.0.2.2")
    clock.time += timedelta(minutes=1)
    turn_away(1)
    assert sorted(RefusalCount.objects.values_list("address", "kind", "count")) == [
        ("192.0.2.1", "bad-password", 1),
        ("192.0.2.1", "bad-token", 1),
        ("192.0.2.1", "bad-token", 2),
        ("192.0.2.2", "bad-token", 1),
    ]


def test_the_seconds_of_a_minute_count_together(clock: Clock) -> None:
    turn_away(2)
    clock.time += timedelta(seconds=7, microseconds=5)
    turn_away(1)
    assert RefusalCount.objects.get().count == 3
    clock.time += timedelta(seconds=20)
    with pytest.raises(TooManyRefusals):
        check_allowance(address="192.0.2.1")


def test_beyond_the_limit_the_address_has_to_wait_for_the_next_minute(clock: Clock) -> None:
    turn_away(2)
    turn_away(1, kind="bad-password")
    with pytest.raises(TooManyRefusals) as refused:
        turn_away(1)
    assert refused.value.retry_after == 40
    turn_away(1, address="192.0.2.2")
    clock.time += timedelta(seconds=40)
    turn_away(1)


def test_the_allowance_can_be_asked_for_before_work_is_done() -> None:
    check_allowance(address="192.0.2.1")
    turn_away(3)
    with pytest.raises(TooManyRefusals):
        check_allowance(address="192.0.2.1")


def test_neighbours_in_one_ipv6_network_count_as_one() -> None:
    for last in range(3):
        turn_away(1, address=f"2001:db8::{last + 1}")
    with pytest.raises(TooManyRefusals):
        turn_away(1, address="2001:db8::ffff")


def test_a_closed_minute_becomes_one_event_for_each_address_and_kind(clock: Clock) -> None:
    turn_away(3)
    turn_away(1, address="192.0.2.2")
    clock.time += timedelta(minutes=1)
    turn_away(1)
    assert record_due() == 2
    first, second = AuditEvent.objects.filter(stream="refusals").order_by("sequence")
    assert (first.actor_kind, first.address, first.outcome) == ("anonymous", "192.0.2.1", "denied")
    assert '"count":3' in first.details
    assert '"limited":true' in first.details
    assert '"count":1' in second.details
    # The open minute goes on counting.
    assert RefusalCount.objects.count() == 1


def test_nothing_is_recorded_twice(clock: Clock) -> None:
    turn_away(1)
    clock.time += timedelta(minutes=1)
    record_refusals()
    record_refusals()
    assert AuditEvent.objects.filter(stream="refusals").count() == 1


def test_more_than_one_batch_is_recorded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_COUNTERS_PER_TRANSACTION", 2)
    for last in range(5):
        turn_away(1, address=f"192.0.2.{last}")
    clock.time += timedelta(minutes=1)
    assert record_due() == 5
