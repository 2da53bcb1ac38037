from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit_app.errors import TooManyRefusals
from environments_app.authentication import lockout
from environments_app.authentication.lockout import POOLS, Kind, Source
from environments_app.models import FailedSignIns

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]

HOUR = timedelta(hours=1)
STRANGER = Source(Kind.STRANGER, "192.0.2.1")
NAMES = count()


class Clock:
    """The time, as a test wants it."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 27, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def go_on(self, **time: float) -> None:
        self.time += timedelta(**time)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("environments_app.authentication.lockout", "core.clock"):
        monkeypatch.setattr(f"{module}.timezone", SimpleNamespace(now=clock.now))
    return clock


def waits(account: str = "alice", source: Source = STRANGER) -> int:
    """Try once, and return the seconds to wait where that is refused."""
    try:
        lockout.take(account, [source])
    except TooManyRefusals as error:
        return error.retry_after
    return 0


def strangers() -> Iterator[Source]:
    return (Source(Kind.STRANGER, f"198.51.{number // 250}.{number % 250}") for number in count())


def exhaust(account: str = "alice") -> None:
    """Use up what strangers may try, each from a network of its own."""
    for source in strangers():
        if waits(account, source):
            return


def test_one_source_waits_longer_after_each_wrong_try(clock: Clock) -> None:
    assert [waits() for _ in range(4)] == [0, 0, 0, 30]
    delays = []
    for _ in range(6):
        delays.append(waits())
        clock.go_on(seconds=delays[-1])
        assert waits() == 0
    assert delays == [30, 60, 120, 240, 480, 900]


def test_a_right_password_ends_the_delay_and_gives_the_try_back(clock: Clock) -> None:
    for _ in range(2):
        waits()
    lockout.give_back(lockout.take("alice", [STRANGER]), forget=True)
    assert [waits() for _ in range(4)] == [0, 0, 0, 30]
    assert lockout.strangers_tries("alice") == 5


@pytest.mark.parametrize("forget", [True, False])
def test_a_right_password_gives_back_its_own_try_and_not_those_that_were_wrong_meanwhile(
    clock: Clock, *, forget: bool
) -> None:
    right = lockout.take("alice", [STRANGER])
    assert [waits() for _ in range(2)] == [0, 0]
    clock.go_on(seconds=30)
    assert waits() == 0
    lockout.give_back(right, forget=forget)
    # Three wrong ones in a row: as if the right one had never been.
    assert waits() == 30
    clock.go_on(seconds=30)
    assert [waits(), waits()] == [0, 60]


def test_the_delay_of_a_source_is_forgotten_after_an_hour(clock: Clock) -> None:
    for _ in range(3):
        waits()
    clock.go_on(hours=2)
    assert [waits() for _ in range(4)] == [0, 0, 0, 30]


def test_strangers_are_bounded_together_whatever_their_number(clock: Clock) -> None:
    tries = sum(not waits(source=source) for source, _ in zip(strangers(), range(60), strict=False))
    assert tries == POOLS[Kind.STRANGER]
    assert waits(source=Source(Kind.STRANGER, "203.0.113.1")) == HOUR.seconds // POOLS[Kind.STRANGER]


@pytest.mark.parametrize("kind", [Kind.SESSION, Kind.DEVICE, Kind.NETWORK])
def test_strangers_hold_up_nobody_else(clock: Clock, kind: Kind) -> None:
    exhaust()
    assert waits(source=Source(kind, "own")) == 0


def test_one_source_leaves_tries_to_the_others_of_its_kind(clock: Clock) -> None:
    stolen, own = Source(Kind.SESSION, "stolen"), Source(Kind.SESSION, "own")
    for _ in range(240):
        waits(source=stolen)
        clock.go_on(seconds=30)
        lockout.give_back(lockout.take("alice", [own]), forget=True)


def test_the_next_source_is_asked_where_the_first_has_to_wait(clock: Clock) -> None:
    device = Source(Kind.DEVICE, "copied")
    assert [waits(source=device) for _ in range(4)] == [0, 0, 0, 30]
    assert lockout.take("alice", [device, STRANGER]).source == STRANGER
    exhaust()
    with pytest.raises(TooManyRefusals) as refusal:
        lockout.take("alice", [device, STRANGER])
    assert refusal.value.retry_after == 30


def test_accounts_count_each_for_itself_whether_or_not_they_exist(clock: Clock) -> None:
    exhaust("nobody")
    assert waits("nobody", Source(Kind.STRANGER, "203.0.113.1")) > 0
    assert waits("somebody", Source(Kind.STRANGER, "203.0.113.1")) == 0


def test_neither_other_names_nor_a_restart_give_tries_back(clock: Clock) -> None:
    exhaust("admin")
    for number in range(50):
        waits(f"user{number}")
    cache.clear()
    lockout.purge()
    assert waits("admin", Source(Kind.STRANGER, "203.0.113.1")) > 0


def most_in_an_hour(times: list[datetime]) -> int:
    return max((sum(start <= time < start + HOUR for time in times) for start in times), default=0)


def test_who_has_every_kind_of_source_tries_a_hundred_times_in_any_hour(clock: Clock) -> None:
    times = []
    for minute in range(150):
        for kind in Kind:
            for number in count():
                if waits("greedy", Source(kind, f"{minute}.{number}")):
                    break
                times.append(clock.time)
        clock.go_on(minutes=1)
    assert 90 <= most_in_an_hour(times) <= 100


@settings(max_examples=20)
@example([])
@example([(0, kind, 0) for kind in Kind] * 20)
@example([(0, Kind.STRANGER, number % 31) for number in range(80)])
@given(st.lists(st.tuples(st.integers(0, 900), st.sampled_from(list(Kind)), st.integers(0, 30)), max_size=80))
def test_any_tries_stay_within_the_pools_and_wait_no_longer_than_is_said(
    steps: list[tuple[int, Kind, int]],
) -> None:
    clock, account = Clock(), f"account{next(NAMES)}"
    times: dict[Kind, list[datetime]] = {kind: [] for kind in Kind}
    with pytest.MonkeyPatch.context() as patched:
        for module in ("environments_app.authentication.lockout", "core.clock"):
            patched.setattr(f"{module}.timezone", SimpleNamespace(now=clock.now))
        for seconds, kind, number in steps:
            clock.go_on(seconds=seconds)
            source = Source(kind, str(number))
            wait = waits(account, source)
            if wait:
                assert wait <= lockout.MAX_DELAY.seconds
                continue
            times[kind].append(clock.time)
    for kind, taken in times.items():
        assert most_in_an_hour(taken) <= 2 * POOLS[kind]


def test_what_a_clock_that_was_ahead_wrote_holds_nobody_up_for_longer(clock: Clock) -> None:
    clock.go_on(days=1)
    exhaust()
    for _ in range(20):
        waits(source=Source(Kind.DEVICE, "own"))
    clock.go_on(days=-1)
    # What the clock wrote is forgotten, but not how often the source was wrong.
    device = Source(Kind.DEVICE, "own")
    assert (waits(source=device), waits(source=device)) == (0, 60)
    assert waits(source=Source(Kind.STRANGER, "203.0.113.1")) == 0


def test_hosts_whose_clocks_differ_a_little_share_the_pools(clock: Clock) -> None:
    clock.go_on(minutes=2)
    exhaust()
    clock.go_on(minutes=-2)
    assert waits(source=Source(Kind.STRANGER, "203.0.113.1")) > 0


def test_a_network_is_known_for_a_while_after_a_sign_in(clock: Clock) -> None:
    lockout.remember_network("alice", "192.0.2.1")
    assert lockout.is_known_network("alice", "192.0.2.1")
    assert not lockout.is_known_network("alice", "192.0.2.2")
    assert not lockout.is_known_network("bob", "192.0.2.1")
    clock.go_on(days=91)
    assert not lockout.is_known_network("alice", "192.0.2.1")
    clock.go_on(days=-93)
    assert not lockout.is_known_network("alice", "192.0.2.1")


def test_rows_that_limit_nothing_are_deleted(clock: Clock) -> None:
    waits()
    lockout.remember_network("alice", "192.0.2.1")
    clock.go_on(days=91)
    assert lockout.purge() == 3
    assert not FailedSignIns.objects.exists()


def test_what_was_typed_as_a_name_is_not_kept() -> None:
    waits("hunter2secret")
    assert "hunter2secret" not in str([vars(row) for row in FailedSignIns.objects.all()])
