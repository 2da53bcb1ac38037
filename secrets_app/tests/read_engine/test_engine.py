"""The thread of the read engine: batches, failures, its end, and who waits in the meantime."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError

from secrets_app.read_engine import engine as engine_module
from secrets_app.read_engine.engine import MAX_BATCH, MAX_WAITING, EngineBusy, ReadEngine
from secrets_app.read_engine.recorded_read import ReadRequest, Serve, Served

Made = Callable[..., ReadEngine]


def request(number: int) -> ReadRequest:
    return ReadRequest("p" * 22, "s" * 43, "127.0.0.1", f"request-{number}", secret_id=number)


def answer(each: Any) -> Any:
    """Stand for a recorded read."""
    return f"read {each.secret_id}"


def served(requests: Sequence[Any]) -> list[Served]:
    return [answer(each) for each in requests]


@pytest.fixture
def made() -> Iterator[Made]:
    """Return what makes engines that are stopped at the end."""
    engines: list[ReadEngine] = []

    def make(serve: Serve = served, **options: Any) -> ReadEngine:
        engines.append(ReadEngine(serve=serve, **options))
        return engines[-1]

    yield make
    for each in engines:
        each.stop()


class Gate:
    """Serves when it is opened, and keeps the sizes of the batches."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.sizes: list[int] = []

    def __call__(self, requests: Sequence[Any]) -> list[Served]:
        self.sizes.append(len(requests))
        self.entered.set()
        assert self.opened.wait(30)
        return served(requests)


def all_of(engine: ReadEngine, numbers: Sequence[int]) -> list[Any]:
    with ThreadPoolExecutor(len(numbers)) as pool:
        return list(pool.map(lambda number: read(engine, number), numbers))


def batch(engine: ReadEngine, *numbers: int) -> list[Any]:
    return [*engine._reads([request(number) for number in numbers])]


def ended(thread: threading.Thread) -> None:
    """Wait for a thread's end: Python reports what ended it in this test, and not in a later one."""
    thread.join(30)
    assert not thread.is_alive()


def read(engine: ReadEngine, number: int) -> Any:
    return engine.read(request(number))


def test_each_gets_the_answer_to_its_own_request(made: Made) -> None:
    engine = made()
    numbers = list(range(1, 41))
    assert all_of(engine, numbers) == [f"read {number}" for number in numbers]


def test_those_who_wait_are_served_together_up_to_a_limit(made: Made) -> None:
    gate = Gate()
    engine = made(gate)
    with ThreadPoolExecutor(MAX_BATCH + 21) as pool:
        waiting = [pool.submit(read, engine, 1)]
        assert gate.entered.wait(30)
        waiting += [pool.submit(read, engine, number) for number in range(2, MAX_BATCH + 22)]
        while engine._queue.qsize() < MAX_BATCH + 20:
            time.sleep(0.01)
        gate.opened.set()
        assert [each.result() for each in waiting] == [f"read {n}" for n in range(1, MAX_BATCH + 22)]
    assert gate.sizes == [1, MAX_BATCH, 20]


def test_one_request_does_not_spoil_the_others_of_its_batch(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    def serve(requests: Sequence[Any]) -> list[Served]:
        if any(each.secret_id == 7 for each in requests):
            raise IntegrityError("canary")
        return served(requests)

    engine = made(serve)
    assert batch(engine, 6, 7, 8) == ["read 6", None, "read 8"]
    assert "IntegrityError" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [OperationalError(2006, "gone"), InterfaceError("closed")])
def test_without_a_database_all_is_left_to_the_general_path_at_once(made: Made, error: Exception) -> None:
    tries: list[int] = []

    def serve(requests: Sequence[Any]) -> list[Served]:
        tries.append(len(requests))
        raise error

    assert batch(made(serve), 1, 2) == [None, None]
    # This connection is still there.
    assert tries == [2]


def test_a_collision_is_tried_once_more(made: Made) -> None:
    tries: list[int] = []

    def serve(requests: Sequence[Any]) -> list[Served]:
        tries.append(len(requests))
        if len(tries) == 1:
            raise OperationalError(1213, "Deadlock found when trying to get lock")
        return served(requests)

    assert batch(made(serve), 1, 2) == ["read 1", "read 2"]
    assert tries == [2, 2]


def test_a_failure_that_took_long_is_not_tried_again(made: Made) -> None:
    now = [0.0]
    tries: list[int] = []

    def serve(requests: Sequence[Any]) -> list[Served]:
        tries.append(len(requests))
        now[0] += 20
        raise OperationalError(1205, "Lock wait timeout exceeded")

    assert batch(made(serve, clock=lambda: now[0]), 1) == [None]
    assert tries == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("end", [SystemExit, MemoryError, KeyboardInterrupt])
def test_a_thread_that_ends_leaves_its_batch_to_the_general_path_and_is_replaced(
    made: Made, end: type[BaseException]
) -> None:
    threads: list[threading.Thread] = []
    tries: list[int] = []

    def serve(requests: Sequence[Any]) -> list[Served]:
        threads.append(threading.current_thread())
        tries.append(len(requests))
        if len(tries) == 1 or (end is MemoryError and len(tries) == 2):
            raise end
        return served(requests)

    engine = made(serve)
    assert read(engine, 1) is None
    tries[:] = [1, 1]
    assert read(engine, 2) == "read 2"
    assert (threads[0] is threads[-1]) is (end is MemoryError)
    if end is not MemoryError:
        ended(threads[0])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_who_comes_while_the_thread_ends_does_not_wait_for_the_next_request(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending, came = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def serve(requests: Sequence[Any]) -> list[Served]:
        threads.append(threading.current_thread())
        if requests[0].secret_id == 1:
            raise SystemExit
        return served(requests)

    class SlowToClose:
        def close(self) -> None:
            ending.set()
            assert came.wait(30)

    monkeypatch.setattr(engine_module, "_CHECK_SECONDS", 1000)
    monkeypatch.setattr(engine_module, "connection", SlowToClose())
    engine = made(serve)
    assert read(engine, 1) is None
    assert ending.wait(30)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(read, engine, 2)
        while engine._queue.empty():
            time.sleep(0.01)
        time.sleep(0.1)
        came.set()
        assert late.result() == "read 2"
    ended(threads[0])


def test_reads_after_the_end_are_left_to_the_general_path(made: Made) -> None:
    engine = made()
    assert read(engine, 1) == "read 1"
    engine.stop()
    assert read(engine, 2) is None
    assert engine._thread is None


def test_who_waits_too_long_gets_nothing_and_is_not_served_later(made: Made) -> None:
    gate = Gate()
    engine = made(gate, wait=30)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(read, engine, 1)
        assert gate.entered.wait(30)
        # From now on: the first one would be given up before a busy machine begins with it.
        engine._wait = 0.2
        with pytest.raises(EngineBusy):
            read(engine, 2)
        gate.opened.set()
        # It may have begun to wait after that.
        with suppress(EngineBusy):
            first.result()
    engine.stop()
    # The second was never served: nothing of it is recorded.
    assert gate.sizes == [1]


def test_more_than_a_number_do_not_wait(made: Made) -> None:
    gate = Gate()
    engine = made(gate)
    with ThreadPoolExecutor(MAX_WAITING) as pool:
        # Those of the batch at hand are among them.
        waiting = [pool.submit(read, engine, 1)]
        assert gate.entered.wait(30)
        waiting += [pool.submit(read, engine, number) for number in range(2, MAX_WAITING + 1)]
        while engine._queue.qsize() < MAX_WAITING - 1:
            time.sleep(0.01)
        try:
            with pytest.raises(EngineBusy):
                read(engine, 1)
        finally:
            gate.opened.set()
        assert [each.result() for each in waiting] == [f"read {n}" for n in range(1, MAX_WAITING + 1)]
    assert read(engine, 1) == "read 1"


def test_a_batch_that_takes_long_shows(made: Made) -> None:
    now, gate = [100.0], Gate()
    engine = made(gate, clock=lambda: now[0])
    assert engine.stuck_seconds() == 0
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(read, engine, 1)
        assert gate.entered.wait(30)
        now[0] += 21
        assert engine.stuck_seconds() == 21
        gate.opened.set()
        waiting.result()
    engine.stop()
    assert engine.stuck_seconds() == 0


def test_what_waits_is_served_before_the_end(made: Made) -> None:
    gate = Gate()
    engine = made(gate)
    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(read, engine, 1)]
        assert gate.entered.wait(30)
        waiting += [pool.submit(read, engine, number) for number in range(2, 6)]
        while engine._queue.qsize() < 4:
            time.sleep(0.01)
        ending = pool.submit(engine.stop)
        while engine._queue.qsize() < 5:
            time.sleep(0.01)
        gate.opened.set()
        ending.result()
    assert [each.result() for each in waiting] == [f"read {number}" for number in range(1, 6)]
    assert engine._thread is None


def test_a_child_process_begins_with_a_thread_of_its_own(made: Made) -> None:
    engine = made()
    assert read(engine, 1) == "read 1"
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        # Nothing of the parent's test may run on here.
        with os.fdopen(writing, "wb") as told:
            told.write(str(read(engine, 2)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        assert told.read() == b"read 2"
    os.waitpid(child, 0)
    assert read(engine, 3) == "read 3"


def test_requests_and_reads_show_nothing(made: Made) -> None:
    assert repr(request(1)) == "ReadRequest()"
    assert "canary" not in repr(made(lambda _: [None]))
