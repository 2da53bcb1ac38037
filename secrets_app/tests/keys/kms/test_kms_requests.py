"""Requests to KMS: how many there are at once, how long they last, and when none is made."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from pytest_django import Settings

from secrets_app.errors import KeyUnavailable, WrongContext
from secrets_app.keys.providers.aws_kms import requests as aws_kms_requests
from secrets_app.keys.providers.aws_kms.errors import NoAnswer
from secrets_app.keys.providers.aws_kms.requests import (
    CONCURRENT,
    LONGEST_PAUSE,
    CircuitBreaker,
    Requests,
    with_extended_timeout,
)
from secrets_app.tests.keys.skipping import Skipping

KEY = "arn:aws:kms:eu-central-1:123456789012:key/1"
THROTTLED = ClientError({"Error": {"Code": "ThrottlingException"}}, "Decrypt")
DENIED = ClientError({"Error": {"Code": "AccessDeniedException"}}, "Decrypt")
AWAY = EndpointConnectionError(endpoint_url="https://kms")


class Kms:
    """Answers as planned, then always."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)

    def __call__(self) -> str:
        if self.failures:
            raise self.failures.pop(0)
        return "answer"


@pytest.fixture
def calls() -> Counter[str]:
    return Counter()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which take no time here."""
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", made.append)
    return made


@pytest.fixture
def requests(calls: Counter[str], settings: Settings) -> Requests:
    settings.KMS_TIMEOUT_SECONDS = 60

    def count(operation: str) -> None:
        calls[operation] += 1

    return Requests(count)


def send(requests: Requests, request: Any) -> Any:
    return requests.send("Decrypt", KEY, request)


class TestRepeating:
    @pytest.mark.parametrize("failure", [THROTTLED, AWAY, ClientError({}, "Decrypt")])
    def test_what_passes_is_asked_again_after_a_growing_wait(
        self, requests: Requests, calls: Counter[str], waits: list[float], failure: Exception
    ) -> None:
        assert send(requests, Kms(failure, failure)) == "answer"
        assert calls["Decrypt"] == 3
        assert len(waits) == 2
        assert waits[0] <= 0.2
        assert waits[1] <= 0.4

    def test_not_for_ever(self, requests: Requests, calls: Counter[str], waits: list[float]) -> None:
        with pytest.raises(KeyUnavailable) as raised:
            send(requests, Kms(*[THROTTLED] * 10))
        assert raised.value.throttled
        assert calls["Decrypt"] == 3

    def test_what_lasts_is_not_asked_again(
        self, requests: Requests, calls: Counter[str], waits: list[float]
    ) -> None:
        with pytest.raises(KeyUnavailable, match="kms:Decrypt"):
            send(requests, Kms(DENIED))
        assert (calls["Decrypt"], waits) == (1, [])

    def test_background_work_goes_on_as_long_as_it_may(
        self, requests: Requests, calls: Counter[str], waits: list[float]
    ) -> None:
        with with_extended_timeout(60):
            assert send(requests, Kms(*[THROTTLED] * 10)) == "answer"
        assert calls["Decrypt"] == 11
        assert max(waits) <= 5
        with pytest.raises(KeyUnavailable):
            send(requests, Kms(*[THROTTLED] * 10))

    def test_nobody_is_asked_who_would_have_no_time_to_answer(
        self, requests: Requests, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Cut off, it would look as if KMS gave no answer, whereas it throttles.
        settings.KMS_TIMEOUT_SECONDS = 5
        clock, asked = Skipping(), list[float]()
        monkeypatch.setattr(aws_kms_requests, "time", clock)
        monkeypatch.setattr(random, "uniform", lambda _least, most: most)

        def throttled() -> str:
            asked.append(clock.skipped)
            raise THROTTLED

        # The waits add up to 0.2, 0.6, 1.4, 3, 6.2, 11.2 and 16.2 seconds.
        with with_extended_timeout(16.5), pytest.raises(KeyUnavailable) as raised:
            send(requests, throttled)
        assert raised.value.throttled
        assert asked[-1] == pytest.approx(11.2)

    def test_background_work_waits_for_a_pause_to_end(
        self, requests: Requests, waits: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = [0.0]
        requests._pause = CircuitBreaker(lambda: clock[0])
        requests._pause.record_failure(NoAnswer("away"), last=True)
        monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
        with with_extended_timeout(60):
            assert send(requests, Kms()) == "answer"


class TestInTime:
    @pytest.fixture
    def hanging(self) -> Iterator[threading.Event]:
        release = threading.Event()
        yield release
        release.set()

    def test_who_asks_does_not_wait_for_what_hangs(
        self, requests: Requests, settings: Settings, hanging: threading.Event
    ) -> None:
        settings.KMS_TIMEOUT_SECONDS = 0.05
        with pytest.raises(NoAnswer, match=r"within 0\.05 seconds"):
            send(requests, hanging.wait)

    def test_no_more_than_a_few_are_under_way(
        self, requests: Requests, settings: Settings, hanging: threading.Event
    ) -> None:
        under_way, most, full, lock = 0, 0, threading.Event(), threading.Lock()

        def request() -> str:
            nonlocal under_way, most
            with lock:
                under_way += 1
                most = max(most, under_way)
                if under_way == CONCURRENT:
                    full.set()
            hanging.wait()
            with lock:
                under_way -= 1
            return "answer"

        settings.KMS_TIMEOUT_SECONDS = 60
        with ThreadPoolExecutor(4 * CONCURRENT) as pool:
            asked = [pool.submit(send, requests, request) for _ in range(4 * CONCURRENT)]
            assert full.wait(60)
            hanging.set()
            assert {each.result() for each in asked} == {"answer"}
        assert most == CONCURRENT

    def test_it_says_the_same_whether_the_client_or_the_deadline_gave_up_first(
        self, requests: Requests, waits: list[float]
    ) -> None:
        with pytest.raises(NoAnswer, match=r"within 60 seconds.* or raise KMS_TIMEOUT_SECONDS"):
            send(requests, Kms(*[ReadTimeoutError(endpoint_url="https://kms")] * 3))


class TestPausing:
    @pytest.mark.parametrize("failure", [THROTTLED, AWAY])
    def test_after_no_answer_the_next_are_not_asked(
        self, requests: Requests, calls: Counter[str], waits: list[float], failure: Exception
    ) -> None:
        requests._pause = CircuitBreaker(lambda: 0.0)
        with pytest.raises(KeyUnavailable) as first:
            send(requests, Kms(*[failure] * 3))
        calls.clear()
        with pytest.raises(KeyUnavailable) as second:
            send(requests, Kms())
        assert not calls
        assert str(second.value) == str(first.value)
        assert second.value.throttled == first.value.throttled
        assert not second.value.permanent

    @pytest.mark.parametrize(
        "failure", [DENIED, ClientError({"Error": {"Code": "InvalidCiphertextException"}}, "Decrypt")]
    )
    def test_a_refusal_of_one_key_holds_no_other_back(
        self, requests: Requests, waits: list[float], failure: Exception
    ) -> None:
        with pytest.raises((KeyUnavailable, WrongContext)):
            send(requests, Kms(failure))
        assert send(requests, Kms()) == "answer"

    def test_after_a_pause_one_tries_and_its_answer_ends_it(self) -> None:
        clock = [0.0]
        pause = CircuitBreaker(lambda: clock[0])
        pause.record_failure(NoAnswer("away"), last=True)
        assert str(pause.reason()) == "away"
        clock[0] = 2.0
        assert pause.reason() is None
        assert pause.reason() is not None
        pause.end()
        assert pause.reason() is None

    def test_each_pause_in_a_row_is_longer_up_to_a_limit(self) -> None:
        clock = [0.0]
        pause = CircuitBreaker(lambda: clock[0])
        lengths = []
        for _ in range(1100):  # of an outage of three hours
            pause.record_failure(NoAnswer("away"), last=True)
            lengths.append(pause.remaining())
            # What was under way when it began makes it no longer.
            pause.record_failure(NoAnswer("away"), last=True)
            assert pause.remaining() == lengths[-1]
            clock[0] += lengths[-1]
        assert 0.5 <= lengths[0] <= 1
        assert 1 <= lengths[1] <= 2
        assert all(5 <= length <= 10 for length in lengths[-3:])
        pause.end()
        pause.record_failure(NoAnswer("away"), last=True)
        assert pause.remaining() <= 1

    def test_who_tries_in_vain_begins_a_pause_and_not_a_wait_for_an_answer(
        self, requests: Requests, calls: Counter[str], waits: list[float]
    ) -> None:
        # Where KMS refuses the connection at once, KMS_TIMEOUT_SECONDS are no measure of when to ask again.
        clock = [0.0]
        requests._pause = CircuitBreaker(lambda: clock[0])
        with pytest.raises(KeyUnavailable):
            send(requests, Kms(*[AWAY] * 3))
        for _ in range(3):
            clock[0] += requests._pause.remaining()
            calls.clear()
            with pytest.raises(KeyUnavailable):
                send(requests, Kms(AWAY))
            assert calls["Decrypt"] == 1
            assert requests._pause.remaining() <= LONGEST_PAUSE
        clock[0] += requests._pause.remaining()
        assert send(requests, Kms()) == "answer"

    def test_what_was_under_way_before_a_pause_says_nothing_of_who_tries_after_it(self) -> None:
        clock = [0.0]
        pause = CircuitBreaker(lambda: clock[0])
        pause.record_failure(NoAnswer("away"), last=True)
        clock[0] = 2.0
        assert pause.reason() is None
        held = pause.remaining()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(pause.record_failure, NoAnswer("away"), last=True).result()
        assert pause.remaining() == held
        pause.record_failure(NoAnswer("away"), last=False)
        assert 1 <= pause.remaining() <= 2

    def test_who_tries_repeats_what_is_throttled_before_the_next_pause(
        self, requests: Requests, calls: Counter[str], waits: list[float]
    ) -> None:
        clock = [0.0]
        requests._pause = CircuitBreaker(lambda: clock[0])
        with pytest.raises(KeyUnavailable):
            send(requests, Kms(*[THROTTLED] * 3))
        clock[0] += requests._pause.remaining()
        calls.clear()
        # KMS answers some requests: the key opens now, and not after pauses that grow.
        assert send(requests, Kms(THROTTLED, THROTTLED)) == "answer"
        assert calls["Decrypt"] == 3
        assert not requests._pause.remaining()

    def test_a_key_opens_soon_where_kms_throttles_every_second_request(
        self, requests: Requests, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock, draw, longest = [0.0], random.Random(20_261_130), 0.0
        monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))

        def half() -> str:
            if draw.random() < 0.5:
                raise THROTTLED
            return "answer"

        for _ in range(300):
            requests._pause = CircuitBreaker(lambda: clock[0])
            began = clock[0]
            while True:
                try:
                    send(requests, half)
                    break
                except KeyUnavailable:
                    # A page is asked for again.
                    clock[0] += 0.25
            longest = max(longest, clock[0] - began)
        assert longest < 10

    def test_patient_work_tries_again_when_the_pause_after_it_is_over(
        self, requests: Requests, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = [0.0]
        requests._pause = CircuitBreaker(lambda: clock[0])
        requests._pause.record_failure(NoAnswer("away"), last=True)
        clock[0] += requests._pause.remaining()
        monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
        with with_extended_timeout(60):
            assert send(requests, Kms(AWAY)) == "answer"
        assert clock[0] <= 4

    def test_who_tries_after_it_and_vanishes_lets_another_try(self, settings: Settings) -> None:
        clock = [0.0]
        pause = CircuitBreaker(lambda: clock[0])
        pause.record_failure(NoAnswer("away"), last=True)
        clock[0] = 2.0
        assert pause.reason() is None
        clock[0] += settings.KMS_TIMEOUT_SECONDS
        assert pause.reason() is None
