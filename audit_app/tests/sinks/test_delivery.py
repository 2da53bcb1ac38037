"""What a sink is given, in which order, how long it is left alone after a failure, and who is told."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import ClassVar

import pytest
from django.utils import timezone

from audit_app.checkpoints import schedule, signing
from audit_app.checkpoints.signing import SIGNING
from audit_app.errors import SinkDown
from audit_app.events.actions import Action
from audit_app.models import AuditEvent, Checkpoint, SinkState
from audit_app.sinks import delivery
from audit_app.sinks.base import Sink
from audit_app.sinks.delivery import deliver_checkpoints
from audit_app.tests.trail import draft, write

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]


class Kept(Sink):
    """A sink in memory that can be down."""

    kind = "kept"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.down, self.numbers = False, list[int]()

    def write(self, lines: Sequence[bytes], *, number: int, stream: str = "") -> int:
        if self.down:
            raise SinkDown(f"{self.name}: " + "x" * 600)
        self.numbers.append(number)
        return len(lines)


class Alerts:
    told: ClassVar[list[str]] = []

    def raised(self, *, kind: str, subject: str, lines: list[str]) -> None:
        self.told.append(f"raised {kind}")

    def over(self, *, kind: str, subject: str) -> None:
        self.told.append(f"over {kind}")


class Clock:
    def __init__(self) -> None:
        self.now = timezone.now()

    def __call__(self) -> datetime:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    standing = Clock()
    monkeypatch.setattr("django.utils.timezone.now", standing)
    return standing


@pytest.fixture
def sinks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Kept]]:
    """Two sinks of checkpoints."""
    made = [Kept("one"), Kept("two")]
    for module in (delivery, schedule):
        monkeypatch.setattr(module, "checkpoint_sinks", lambda: made)
        monkeypatch.setattr(module, "event_sinks", list)
    monkeypatch.setattr(delivery, "audit_log_alerts", Alerts)
    Alerts.told.clear()
    yield made
    Alerts.told.clear()


def sign(count: int = 1) -> None:
    for _ in range(count):
        write(1)
        assert signing.make_checkpoint(at_once=True)


def state(name: str) -> SinkState:
    return SinkState.objects.get(name=name)


def test_a_new_sink_begins_with_the_newest_and_gets_each_later_one_once(
    sinks: list[Kept], clock: Clock
) -> None:
    sign(3)
    one, two = sinks
    assert deliver_checkpoints() == 2
    sign(2)
    assert (deliver_checkpoints(), deliver_checkpoints()) == (4, 0)
    assert one.numbers == two.numbers == [3, 4, 5]
    # A third one joins; the others go on from where they are.
    sinks.append(Kept("three"))
    assert deliver_checkpoints() == 1
    assert (sinks[2].numbers, one.numbers) == ([5], [3, 4, 5])
    assert [state(sink.name).position for sink in sinks] == [5, 5, 5]


def test_a_sink_that_is_down_holds_up_no_other_and_is_left_alone_longer_each_time(
    sinks: list[Kept], clock: Clock
) -> None:
    sign()
    one, two = sinks
    one.down = True
    assert deliver_checkpoints() == 1
    assert two.numbers == [1]
    failed = state("one")
    assert (failed.failures, len(failed.error), failed.leased_until) == (1, 500, None)
    assert failed.due_at == clock.now + timedelta(seconds=15)
    assert Alerts.told == []
    waits = []
    for _ in range(7):
        assert deliver_checkpoints() == 0
        clock.passes(((state("one").due_at or clock.now) - clock.now).total_seconds() - 1)
        before = state("one").failures
        deliver_checkpoints()
        # A second too early nobody tries.
        assert state("one").failures == before
        clock.passes(1)
        deliver_checkpoints()
        assert state("one").failures == before + 1
        waits.append(((state("one").due_at or clock.now) - clock.now).total_seconds())
    assert waits == [30, 60, 120, 240, 300, 300, 300]
    assert Alerts.told == ["raised one"] * 7
    # At once, it is tried all the same, and what it lacks goes out.
    one.down = False
    sign()
    assert deliver_checkpoints(at_once=True) == 3
    works = state("one")
    assert (works.failures, works.error, works.due_at, works.leased_until) == (0, "", None, None)
    assert works.succeeded_at == clock.now
    assert one.numbers == [1, 2]
    assert Alerts.told[-1] == "over one"
    deliver_checkpoints()
    assert Alerts.told.count("over one") == 1


def test_what_another_worker_delivers_is_left_to_it_until_its_lease_is_over(
    sinks: list[Kept], clock: Clock
) -> None:
    sign()
    deliver_checkpoints()
    sign()
    SinkState.objects.filter(name="one").update(leased_until=clock.now + timedelta(seconds=30))
    assert deliver_checkpoints(at_once=True) == 1
    assert sinks[0].numbers == [1]
    clock.passes(31)
    assert deliver_checkpoints() == 1
    assert sinks[0].numbers == [1, 2]


def test_each_problem_of_the_anchoring_is_told_and_no_other(sinks: list[Kept], clock: Clock) -> None:
    sign()
    deliver_checkpoints()
    assert schedule.problems() == []
    SinkState.objects.create(name="of before", failures=3)
    assert schedule.problems() == []
    SinkState.objects.filter(name="one").update(failures=1)
    assert schedule.problems() == ["1 of the sinks of the audit log do not take what they are given"]
    SinkState.objects.update(failures=0)
    SinkState.objects.filter(name=SIGNING).update(error="refused")
    (problem,) = schedule.problems()
    assert "not signed: it is not what" in problem
    SinkState.objects.filter(name=SIGNING).update(error="", succeeded_at=clock.now - timedelta(days=2))
    assert schedule.problems() == ["the audit log was not signed lately"]
    SinkState.objects.filter(name=SIGNING).update(succeeded_at=clock.now)
    # Another violation, and one of long ago, are no loss of a sink.
    write(1, action=Action.INTEGRITY_VIOLATION, stream="system")
    assert schedule.problems() == []
    lost = draft().object._replace(kind="sink", name="one")
    write(1, action=Action.INTEGRITY_VIOLATION, stream="system", object=lost)
    (problem,) = schedule.problems()
    assert "emptied or cut" in problem
    clock.passes(timedelta(days=60).total_seconds())
    SinkState.objects.filter(name=SIGNING).update(succeeded_at=clock.now)
    assert schedule.problems() == []


def test_signing_that_works_again_is_noted_on_its_own_row(sinks: list[Kept], clock: Clock) -> None:
    sign()
    SinkState.objects.filter(name=SIGNING).update(error="refused", failures=4, succeeded_at=None)
    SinkState.objects.create(name="one", error="down", failures=2)
    sign()
    signing_state = state(SIGNING)
    assert (signing_state.error, signing_state.failures, signing_state.succeeded_at) == ("", 0, clock.now)
    assert (state("one").error, state("one").failures) == ("down", 2)
    assert Checkpoint.objects.count() == 2
    assert not AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION).exists()


def test_a_checkpoint_waits_after_another_one_that_is_not_of_the_future(clock: Clock) -> None:
    sign()
    for seconds, made in ((0, False), (29, False), (1, True), (29, False), (-3600, True)):
        write(1)
        clock.passes(seconds)
        assert (signing.make_checkpoint() is not None) is made, seconds
