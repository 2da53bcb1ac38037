"""A service that saves time costs none where it does not answer."""

import threading
import time
from collections.abc import Iterator

import pytest

from core import workers
from core.errors import ServiceAway
from core.workers import BoundedCalls

SECONDS = 0.2


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """What the calls that hang wait for."""
    event = threading.Event()
    yield event
    event.set()


def calls(name: str, *, rest: float = 0.0) -> BoundedCalls:
    return BoundedCalls(name, seconds=SECONDS, rest=rest, failures=(OSError,))


def test_a_call_that_hangs_is_given_up(over: threading.Event) -> None:
    began = time.monotonic()
    with pytest.raises(ServiceAway, match="gave no answer"):
        calls("hangs").run(over.wait)
    assert time.monotonic() - began < 10 * SECONDS


def test_calls_that_hang_hold_few_threads(over: threading.Event) -> None:
    hanging = calls("holds")
    for _ in range(3 * workers._THREADS):
        with pytest.raises(ServiceAway):
            hanging.run(over.wait)
    assert sum(each.name.startswith("holds") for each in threading.enumerate()) == workers._THREADS


@pytest.mark.parametrize("error", [OSError("refused"), None])
def test_after_a_failure_it_is_left_alone_for_a_while(
    over: threading.Event, monkeypatch: pytest.MonkeyPatch, error: OSError | None
) -> None:
    def fail() -> None:
        if error:
            raise error
        over.wait()

    resting, asked = calls(f"rests {error}", rest=60), []
    with pytest.raises((OSError, ServiceAway)):
        resting.run(fail)
    with pytest.raises(ServiceAway, match="a moment ago"):
        resting.run(lambda: asked.append(1))
    assert not asked
    later = time.monotonic() + 61
    monkeypatch.setattr("core.workers.time.monotonic", lambda: later)
    resting.run(lambda: asked.append(1))
    assert asked


def test_what_it_answers_and_raises_comes_back() -> None:
    answering = calls("answers", rest=60)
    assert answering.run(lambda: 7) == 7

    def fail() -> None:
        raise KeyError("of the caller")

    with pytest.raises(KeyError):
        answering.run(fail)
    # An error of another kind is not of the service.
    assert answering.run(lambda: 8) == 8
