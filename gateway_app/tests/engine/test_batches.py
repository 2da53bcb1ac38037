"""Batches of reads: failures, lost connections, and what takes long."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError, connection

from gateway_app.engine.process import Batches
from gateway_app.engine.reads import ReadRequest, Served


def request(number: int) -> ReadRequest:
    return ReadRequest("p" * 22, "s" * 43, "127.0.0.1", f"request-{number}", secret_id=number)


def served(requests: Sequence[Any]) -> list[Any]:
    return [f"read {each.secret_id}" for each in requests]


def batch(batches: Batches, *numbers: int) -> list[Any]:
    return [*batches.served([request(number) for number in numbers])]


class Failing:
    """Fails so many times, and then serves; keeps the sizes of the batches."""

    def __init__(
        self, error: BaseException, times: int = 1, during: Callable[[], None] = lambda: None
    ) -> None:
        self.error, self.times, self.during = error, times, during
        self.sizes: list[int] = []

    def __call__(self, requests: Sequence[Any]) -> list[Served]:
        self.sizes.append(len(requests))
        self.during()
        if len(self.sizes) <= self.times:
            raise self.error
        return served(requests)


def test_one_request_does_not_spoil_the_others_of_its_batch(caplog: pytest.LogCaptureFixture) -> None:
    def serve(requests: Sequence[Any]) -> list[Served]:
        if any(each.secret_id == 7 for each in requests):
            raise IntegrityError("canary")
        return served(requests)

    assert batch(Batches(serve), 6, 7, 8) == ["read 6", None, "read 8"]
    assert "IntegrityError" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [OperationalError(2006, "gone"), InterfaceError("closed")])
def test_without_a_database_all_is_left_to_the_general_path_at_once(error: Exception) -> None:
    connection.ensure_connection()
    failing = Failing(error, times=5)
    assert batch(Batches(failing), 1, 2) == [None, None]
    # This connection is still there.
    assert failing.sizes == [2]


def test_a_collision_is_tried_once_more() -> None:
    failing = Failing(OperationalError(1213, "Deadlock found when trying to get lock"))
    assert batch(Batches(failing), 1, 2) == ["read 1", "read 2"]
    assert failing.sizes == [2, 2]


def test_a_failure_that_took_long_is_not_tried_again() -> None:
    now = [0.0]

    def last_long() -> None:
        now[0] += 20

    failing = Failing(OperationalError(1205, "Lock wait timeout exceeded"), during=last_long)
    assert batch(Batches(failing, clock=lambda: now[0]), 1) == [None]
    assert failing.sizes == [1]


def test_a_batch_that_takes_long_shows() -> None:
    now, seen = [100.0], []

    def serve(requests: Sequence[Any]) -> list[Served]:
        now[0] += 21
        seen.append(batches.stuck_seconds())
        return served(requests)

    batches = Batches(serve, clock=lambda: now[0])
    assert batches.stuck_seconds() == 0
    assert batch(batches, 1) == ["read 1"]
    assert (seen, batches.stuck_seconds()) == ([21], 0)


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_process_is_not_held_back(end: type[BaseException]) -> None:
    batches = Batches(Failing(end()))
    with pytest.raises(end):
        batch(batches, 1)
    assert batches.stuck_seconds() == 0
