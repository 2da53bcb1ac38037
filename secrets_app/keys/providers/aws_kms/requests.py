"""Sends requests to KMS: few at once, each with a deadline, fewer still while KMS does not keep up.

- A request is repeated after jittered, growing waits while it is throttled or gets no answer.
- The deadline is kept even where a reply trickles in: requests run on threads of their own, whose
  number bounds how many there are at once, and who asked does not wait longer.
- After a request that stayed without answer, or throttled, the next ones fail at once for a while,
  so that threads which serve pages do not all wait for KMS. Then a single one tries.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from secrets_app.errors import KeyUnavailable
from secrets_app.keys.providers.aws_kms.errors import NoAnswer, describe_timeout, translate_error
from secrets_app.metrics import KMS_REQUESTS, KMS_SECONDS

Answer = TypeVar("Answer")

# How many requests a process has under way.
CONCURRENT: Final = 8
_ATTEMPTS: Final = 3
_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 5.0
_FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 10.0
# More make no difference, and after a night of them a float would be too small.
_DOUBLINGS: Final = 8
# Of the time that one reply is waited for: an attempt that has less left would only be cut off, and KMS
# would seem to give no answer where it throttles.
_LEAST_PART: Final = 0.2

# Seconds that work in the background gives a request; None: a page waits for it.
_patience: ContextVar[float | None] = ContextVar("kms_patience", default=None)


@contextmanager
def with_extended_timeout(seconds: float) -> Iterator[None]:
    """Give each request so long, repeating it as often as it takes: for commands and workers."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


class CircuitBreaker:
    """Whether KMS is left alone for now, and why; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._why: KeyUnavailable | None = None
        self._until = 0.0
        self._failures = 0
        # The thread whose request tries after a pause.
        self._trier: int | None = None

    def reason(self) -> KeyUnavailable | None:
        """Return why not to ask now; None lets the caller ask, and after a pause just this one."""
        with self._lock:
            if self._why is None:
                return None
            now = self._clock()
            if now >= self._until:
                self._trier, self._until = threading.get_ident(), now + settings.KMS_TIMEOUT_SECONDS
                return None
            return KeyUnavailable(str(self._why), permanent=False, throttled=self._why.throttled)

    def remaining(self) -> float:
        with self._lock:
            return max(0.0, self._until - self._clock()) if self._why else 0.0

    def is_tried_here(self) -> bool:
        """Return whether this thread's request is the one that tries after a pause."""
        with self._lock:
            return self._trier == threading.get_ident()

    def record_failure(self, why: KeyUnavailable, *, last: bool) -> None:
        """Leave KMS alone if this was the `last` attempt of a request, or this thread tried after a pause.

        A pause stays as long as it is, however many requests it finds under way; each new one is longer
        than the previous one.
        """
        with self._lock:
            under_way = self._why is not None and self._clock() < self._until
            tried = self._trier == threading.get_ident()
            if not (tried or (last and not under_way)):
                return
            length = min(LONGEST_PAUSE, _FIRST_PAUSE * 2**self._failures)
            self._failures = min(self._failures + 1, _DOUBLINGS)
            self._trier = None
            self._why, self._until = why, self._clock() + length * random.uniform(0.5, 1)  # noqa: S311 - jitter

    def end(self) -> None:
        """Ask again as before, since KMS answered."""
        with self._lock:
            self._why, self._failures, self._trier = None, 0, None


class Requests:
    """The requests of one process; `count` is called for each attempt."""

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count
        self._pause = CircuitBreaker()
        self._threads = ThreadPoolExecutor(CONCURRENT, thread_name_prefix="kms")

    def send(self, operation: str, key: str, request: Callable[[], Answer]) -> Answer:
        """Return the answer to a request about a key.

        Raises KeyUnavailable, KeyRefused or WrongContext, with the operator's remedy.
        """
        patience = _patience.get()
        deadline = time.monotonic() + (patience or settings.KMS_TIMEOUT_SECONDS)
        attempt = 0
        while True:
            attempt += 1
            held_back = None if self._pause.is_tried_here() else self._pause.reason()
            try:
                if held_back:
                    raise held_back
                return self._attempt(operation, key, request, deadline)
            except KeyUnavailable as error:
                unheard = _is_throttled(error) and not held_back
                # KMS that throttles answers: who tries after a pause repeats the request before the next one.
                if unheard and not error.throttled:
                    self._pause.record_failure(error, last=False)
                last = patience is None and (attempt == _ATTEMPTS or self._remaining() > 0)
                wait = self._wait(attempt)
                late = deadline - settings.KMS_TIMEOUT_SECONDS * _LEAST_PART
                if error.permanent or last or time.monotonic() + wait >= late:
                    if unheard:
                        self._pause.record_failure(error, last=True)
                    raise
            time.sleep(wait)

    def _attempt(self, operation: str, key: str, request: Callable[[], Answer], deadline: float) -> Answer:
        self._count(operation)
        # However patient the caller, one reply is waited for no longer than is configured.
        seconds = min(settings.KMS_TIMEOUT_SECONDS, max(0.0, deadline - time.monotonic()))
        pending = self._threads.submit(request)
        try:
            with KMS_SECONDS.labels(operation).time():
                answer = pending.result(seconds)
        except FutureTimeout as error:
            pending.cancel()
            KMS_REQUESTS.labels(operation, NoAnswer.__name__).inc()
            raise describe_timeout(operation, settings.KMS_TIMEOUT_SECONDS) from error
        except (BotoCoreError, ClientError) as error:
            meant = translate_error(operation, key, error)
            throttled = isinstance(meant, KeyUnavailable) and meant.throttled
            KMS_REQUESTS.labels(operation, "Throttled" if throttled else type(meant).__name__).inc()
            if not _is_throttled(meant):
                self._pause.end()
            raise meant from error
        KMS_REQUESTS.labels(operation, "ok").inc()
        self._pause.end()
        return answer

    def _wait(self, attempt: int) -> float:
        backoff = random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1)))  # noqa: S311 - jitter
        return max(backoff, self._remaining())

    def _remaining(self) -> float:
        return 0.0 if self._pause.is_tried_here() else self._pause.remaining()


def _is_throttled(error: Exception) -> bool:
    return isinstance(error, KeyUnavailable) and (error.throttled or isinstance(error, NoAnswer))
