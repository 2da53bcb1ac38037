import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from audit_app.recording import group_commit
from audit_app.recording.group_commit import GroupCommit

PATIENCE_SECONDS = 60


class Failed(Exception):
    pass


class Queue(list[object]):
    """A queue that tells when something was put into it."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals = threading.Semaphore(0)

    def append(self, item: object) -> None:
        super().append(item)
        self.arrivals.release()


class Writer:
    """Writes items and remembers how; items named `bad` fail, and the first group can be held up."""

    def __init__(self, largest: int = 100) -> None:
        self.groups: list[list[str]] = []
        self.single: list[str] = []
        self.cares = True
        self.is_writing = threading.Event()
        self.may_finish = threading.Event()
        self.may_finish.set()
        self.commits: GroupCommit[str, str] = GroupCommit(
            together=self.together, alone=self.alone, errors=(Failed,), largest=largest
        )
        self.queue = Queue()
        self.commits._queue = self.queue  # type: ignore[assignment]

    def together(self, items: Sequence[str]) -> list[str]:
        self.groups.append(list(items))
        self.is_writing.set()
        assert self.may_finish.wait(PATIENCE_SECONDS)
        if "bad" in items:
            raise Failed
        return [item.upper() for item in items] if self.cares else []

    def alone(self, item: str) -> str:
        self.single.append(item)
        if item == "bad":
            raise Failed
        return item.upper()

    @contextmanager
    def busy(self, pool: ThreadPoolExecutor) -> Iterator[Future[str]]:
        """Hold one thread up in its writing while others come."""
        self.may_finish.clear()
        first = pool.submit(self.commits.commit, "stream", "first")
        assert self.is_writing.wait(PATIENCE_SECONDS)
        assert self.queue.arrivals.acquire(timeout=PATIENCE_SECONDS)
        try:
            yield first
        finally:
            self.may_finish.set()

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.queue.arrivals.acquire(timeout=PATIENCE_SECONDS)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def submit(pool: ThreadPoolExecutor, writer: Writer, *items: tuple[str, str]) -> list[Future[str]]:
    return [pool.submit(writer.commits.commit, key, item) for key, item in items]


def test_a_thread_alone_writes_at_once() -> None:
    writer = Writer()
    assert [writer.commits.commit("stream", item) for item in ("a", "b")] == ["A", "B"]
    assert writer.groups == [["a"], ["b"]]
    assert not writer.single


def test_those_who_come_meanwhile_are_written_together(pool: ThreadPoolExecutor) -> None:
    writer = Writer()
    with writer.busy(pool) as first:
        others = submit(pool, writer, *[("stream", item) for item in "abcd"])
        writer.wait_for(4)
    assert [each.result(PATIENCE_SECONDS) for each in (first, *others)] == ["FIRST", "A", "B", "C", "D"]
    assert [sorted(group) for group in writer.groups] == [["first"], ["a", "b", "c", "d"]]


def test_streams_are_written_apart(pool: ThreadPoolExecutor) -> None:
    writer = Writer()
    with writer.busy(pool):
        others = submit(pool, writer, ("stream", "a"), ("other", "x"), ("stream", "b"))
        writer.wait_for(3)
    assert [each.result(PATIENCE_SECONDS) for each in others] == ["A", "X", "B"]
    assert sorted(sorted(group) for group in writer.groups[1:]) == [["a", "b"], ["x"]]


def test_a_group_is_no_larger_than_it_may_be(pool: ThreadPoolExecutor) -> None:
    writer = Writer(largest=2)
    with writer.busy(pool):
        others = submit(pool, writer, *[("stream", item) for item in "abcde"])
        writer.wait_for(5)
    assert [each.result(PATIENCE_SECONDS) for each in others] == ["A", "B", "C", "D", "E"]
    assert [len(group) for group in writer.groups] == [1, 2, 2, 1]


def test_one_that_fails_spoils_no_other(pool: ThreadPoolExecutor) -> None:
    writer = Writer()
    with writer.busy(pool) as first:
        bad, good = submit(pool, writer, ("stream", "bad"), ("stream", "good"))
        writer.wait_for(2)
    assert (first.result(PATIENCE_SECONDS), good.result(PATIENCE_SECONDS)) == ("FIRST", "GOOD")
    assert isinstance(bad.exception(PATIENCE_SECONDS), Failed)
    assert sorted(writer.single) == ["bad", "good"]
    # And the next one does not wait for anybody.
    assert writer.commits.commit("stream", "next") == "NEXT"


def test_a_thread_alone_that_fails_is_told_so_once() -> None:
    writer = Writer()
    with pytest.raises(Failed):
        writer.commits.commit("stream", "bad")
    assert not writer.single
    assert writer.commits.commit("stream", "next") == "NEXT"


def test_what_is_not_cared_for_is_written_alone() -> None:
    writer = Writer()
    writer.cares = False
    assert writer.commits.commit("stream", "a") == "A"
    assert writer.single == ["a"]


@pytest.mark.parametrize("has_turn", [False, True])
def test_nobody_waits_for_a_thread_that_was_interrupted(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, has_turn: bool
) -> None:
    writer = Writer()
    waiting = group_commit._Waiting

    class Interrupted(waiting[str, str]):  # type: ignore[valid-type, misc]
        def __init__(self, key: str, item: str) -> None:
            super().__init__(key, item)
            if item == "interrupted":
                self.wakened = InterruptedLock(at_once=not has_turn)

    monkeypatch.setattr(group_commit, "_Waiting", Interrupted)
    with writer.busy(pool) as first:
        (gone,) = submit(pool, writer, ("stream", "interrupted"))
        writer.wait_for(1)
        (behind,) = submit(pool, writer, ("stream", "behind"))
        writer.wait_for(1)
    assert isinstance(gone.exception(PATIENCE_SECONDS), KeyboardInterrupt)
    assert (first.result(PATIENCE_SECONDS), behind.result(PATIENCE_SECONDS)) == ("FIRST", "BEHIND")


class InterruptedLock:
    """A lock whose waiter is interrupted: at once, or only when its turn has come."""

    def __init__(self, *, at_once: bool) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._at_once = at_once

    def acquire(self) -> None:
        if not self._at_once:
            self._lock.acquire()
        raise KeyboardInterrupt

    def release(self) -> None:
        self._lock.release()
