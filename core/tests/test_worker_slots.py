"""A worker does so much of a kind of work at once, and no more."""

import threading
from contextlib import ExitStack, suppress

import pytest

from core import workers
from core.workers import part, slot


@pytest.fixture(autouse=True)
def _eight_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_concurrency", 8)


def test_a_kind_has_its_share_and_all_kinds_half_of_the_threads() -> None:
    with ExitStack() as held:
        assert [held.enter_context(slot("sync", share=1 / 2)) for _ in range(2)] == [True, True]
        with slot("sync", share=1 / 2) as is_free:
            assert not is_free
        assert [held.enter_context(slot(kind)) for kind in "abc"] == [True, True, False]
        assert [held.enter_context(part("checks")) for _ in range(2)] == [True, False]
    with slot("sync") as is_free:
        assert is_free


def test_what_fails_gives_its_slot_back() -> None:
    with suppress(ZeroDivisionError), slot("sync"):
        raise ZeroDivisionError
    with slot("sync") as is_free:
        assert is_free


def test_threads_share_the_slots() -> None:
    found: list[bool] = []

    def look() -> None:
        with slot("sync") as is_free:
            found.append(is_free)

    with slot("sync"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert found == [False]


def test_outside_a_worker_there_is_always_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_concurrency", 0)
    with slot("sync") as first, slot("sync") as second:
        assert first
        assert second
