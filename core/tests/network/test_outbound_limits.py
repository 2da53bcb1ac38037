"""The bounds of requests to other systems hold, and are given back where something fails."""

import threading
import time

import pytest

from core.errors import AnswerTooLarge, DeadlinePassed
from core.network import limits
from core.network.limits import Limit, LimitedSocket, current_limit, limited, opened, resolved

# More than names are asked for at once.
TIMES = 20


def test_a_thread_that_cannot_start_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        for _ in range(TIMES):
            with pytest.raises(RuntimeError, match="can't start"), limited(1):
                resolved("localhost", 80)
    with limited(60):
        assert resolved("localhost", 80)


def test_a_request_without_a_limit_is_not_sent() -> None:
    with pytest.raises(RuntimeError, match="no limit"):
        current_limit()
    with limited(60):
        assert 0 < current_limit().seconds_left() <= 60


def test_a_request_whose_time_is_over_has_none_left() -> None:
    now = time.monotonic()
    assert Limit(seconds=5, most=10, ends=now + 5).seconds_left() > 0
    with pytest.raises(DeadlinePassed, match="within 5 seconds"):
        Limit(seconds=5, most=10, ends=now - 0.001).seconds_left()


def test_an_answer_has_so_many_bytes_altogether_and_no_more() -> None:
    limit = Limit(seconds=5, most=10, ends=time.monotonic() + 5)
    limit.refuse_above(10)
    limit.count(6)
    limit.count(4)
    with pytest.raises(AnswerTooLarge):
        limit.count(1)
    with pytest.raises(AnswerTooLarge):
        limit.refuse_above(11)


def test_addresses_that_do_not_answer_end_the_request_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def connect(self: LimitedSocket, address: tuple[str, int]) -> None:
        tried.append(address[0])
        raise failures.pop(0)

    monkeypatch.setattr(LimitedSocket, "connect", connect)
    failures: list[OSError] = [ConnectionRefusedError("refused"), TimeoutError("timed out")]
    with limited(60), pytest.raises(DeadlinePassed):
        opened(["192.0.2.1", "192.0.2.2"], 443)
    failures = [TimeoutError("timed out"), ConnectionRefusedError("refused")]
    with limited(60), pytest.raises(ConnectionRefusedError):
        opened(["192.0.2.1", "2001:db8::1"], 443)
    assert tried == ["192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1"]


def test_an_address_that_does_not_answer_leaves_time_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []

    def connect(self: LimitedSocket, address: tuple[str, int]) -> None:
        shares.append(self.gettimeout() or 0)
        raise ConnectionRefusedError

    monkeypatch.setattr(LimitedSocket, "connect", connect)
    with limited(60), pytest.raises(ConnectionRefusedError):
        opened(["192.0.2.1", "192.0.2.2", "192.0.2.3"], 443)
    assert [round(share, -1) for share in shares] == [20, 30, 60]


def test_while_too_many_names_are_asked_for_the_request_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_RESOLVING", threading.BoundedSemaphore(1))
    with limits._RESOLVING:
        begun = time.monotonic()
        with limited(0.2), pytest.raises(DeadlinePassed):
            resolved("localhost", 80)
        assert time.monotonic() - begun < 30
        with limited(60):
            # An address is no name.
            assert resolved("192.0.2.1", 80) == ["192.0.2.1"]
    with limited(60):
        assert resolved("localhost", 80)
