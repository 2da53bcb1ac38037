"""A list that a thread reads while its caller does something else."""

import threading
from collections.abc import Iterator

import pytest

from sync_app.errors import TargetBusy
from sync_app.jobs.worker_pool import BATCH, ReadAhead, no_heartbeat


def test_all_items_come_in_order_and_from_another_thread() -> None:
    threads = set()

    def read() -> Iterator[int]:
        for number in range(3 * BATCH + 1):
            threads.add(threading.get_ident())
            yield number

    beats = []
    with ReadAhead(read) as ahead:
        assert list(ahead.items(heartbeat=lambda: beats.append(1))) == list(range(3 * BATCH + 1))
    assert beats
    assert threads.isdisjoint({threading.get_ident()})


def test_an_empty_list_ends() -> None:
    with ReadAhead(lambda: iter(())) as ahead:
        assert list(ahead.items(heartbeat=no_heartbeat)) == []


def test_a_list_that_breaks_off_is_an_error_and_no_end() -> None:
    def read() -> Iterator[int]:
        yield from range(BATCH + 1)
        raise TargetBusy("busy")

    with ReadAhead(read) as ahead, pytest.raises(TargetBusy):
        list(ahead.items(heartbeat=no_heartbeat))


def test_nothing_more_is_asked_once_the_caller_has_failed() -> None:
    asked: list[int] = []

    def read() -> Iterator[int]:
        for number in range(10 * BATCH):
            if number == BATCH:
                assert ahead.is_over.wait(60)
            asked.append(number)
            yield number

    ahead = ReadAhead(read)
    with pytest.raises(LookupError), ahead:
        raise LookupError
    # What was under way ends.
    assert len(asked) <= 2 * BATCH
