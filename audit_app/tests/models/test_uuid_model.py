"""UUIDs: random ones that are drawn many at once, and those of rows, which are in the order of their making."""

import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.db.identity import _Counter, ordered_uuids, random_uuids, uuid7, uuid_text

COUNT = 300


def test_they_are_random_uuids_of_version_4() -> None:
    drawn = random_uuids(COUNT)
    made = [UUID(digits) for digits in drawn]
    assert len(set(made)) == COUNT
    assert {(each.version, each.variant) for each in made} == {(4, RFC_4122)}
    assert [each.hex for each in made] == drawn


def test_all_their_other_bits_are_those_that_were_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = bytes(range(256)) * 3
    monkeypatch.setattr(os, "urandom", lambda size: drawn[:size])
    made = [UUID(bytes=drawn[start : start + 16], version=4).hex for start in range(0, len(drawn), 16)]
    assert random_uuids(len(made)) == made


def test_none_are_none() -> None:
    assert random_uuids(0) == []


@example(UUID(int=0))
@example(UUID(int=2**128 - 1))
@example(UUID(int=0xF))
@given(st.uuids())
def test_a_stored_uuid_is_written_as_usual(uuid: UUID) -> None:
    assert uuid_text(uuid.hex) == str(uuid)


# --- Of rows --------------------------------------------------------------------------------------


def test_it_is_a_uuid_of_version_7_that_begins_with_the_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, RFC_4122)
    assert before <= made.int >> 80 <= after


def test_each_is_greater_than_the_last() -> None:
    made = [uuid7() for _ in range(COUNT)] + [UUID(digits) for digits in ordered_uuids(COUNT)] + [uuid7()]
    assert made == sorted(set(made))
    assert {(each.version, each.variant) for each in made} == {(7, RFC_4122)}


def test_they_differ_in_bits_that_are_drawn() -> None:
    tails = {UUID(digits).int & 0xFFFFFFFF for digits in ordered_uuids(COUNT)}
    assert len(tails) > COUNT - 3


def test_threads_get_different_ones() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: uuid7(), range(COUNT)))
    # The numbers alone, without what is drawn.
    assert len({each.int >> 32 for each in made}) == COUNT


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda milliseconds: monkeypatch.setattr(time, "time_ns", lambda: milliseconds * 1_000_000)


def test_a_clock_that_is_put_back_moves_none_back(at: Callable[[int], None]) -> None:
    counter = _Counter()
    at(5_000)
    first = counter.reserve(1)
    at(4_000)
    assert counter.reserve(1) == (first[0], first[1] + 1)


def test_a_full_counter_takes_the_next_millisecond(
    at: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = _Counter()
    monkeypatch.setattr(os, "urandom", lambda size: b"\xff" * size)
    at(5_000)
    milliseconds, first = counter.reserve((1 << 41) + 1)
    assert (milliseconds, first) == (5_000, (1 << 41) - 1)
    assert counter.reserve(1) == (5_001, (1 << 41) - 1)


def test_a_forked_process_does_not_continue_its_parents_numbers() -> None:
    uuid7()
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # From Python 3.12 on, where the runner has threads: the child touches none of what they hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        os.write(writer, uuid7().bytes)
        os._exit(0)
    os.waitpid(child, 0)
    theirs = UUID(bytes=os.read(reader, 16))
    own = uuid7()
    assert theirs.int >> 32 != own.int >> 32


def test_none_of_them_are_none() -> None:
    assert ordered_uuids(0) == []
