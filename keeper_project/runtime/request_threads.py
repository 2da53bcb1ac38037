"""Which thread does what for a request, so that no slow client and no slow request holds up the rest.

The server gives each request to a thread as soon as its head is read. If that thread ran the application, a
few bodies that never come would take all of them. So the server has many threads, which read bodies and
wait; the application runs in a few threads of its own, each with its connection of the database. Probes
have theirs, and so have long answers, which are made as fast as their clients take them.
"""

import io
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from queue import Empty, Full, Queue
from typing import Any, Final

from core.config.sizes import STREAM_THREADS
from core.http.requests import BUSY, Answer, Application, Environ, Front, Headers, Refused, Start

# What may hold threads of the server (`config.sizes`) at most.
MAX_WAITING: Final = 120
MAX_PROBES: Final = 8
MAX_BODIES: Final = 100
PIECE_BYTES: Final = 64 * 1024
# A body that takes longer is late: its connection is closed where it is found (`stuck_connections`).
BODY_SECONDS: Final = 10.0
# All bodies in memory that the application has not got yet.
BODIES_BYTES: Final = 128 * 1024 * 1024
# An answer up to this length is handed over whole, so that no slow reader of it holds a thread.
WHOLE_BYTES: Final = 2 * 1024 * 1024
# What a client may take for a piece of a longer one, and for all of it.
STREAM_SECONDS: Final = 30.0
STREAM_TOTAL_SECONDS: Final = 600.0
# The server ends a response normally whatever its iterator raises: the text itself must mark the cut.
CUT: Final = b"\n\nINCOMPLETE: Keeper could not send the rest of this answer. Ask for it again.\n"
_STREAM_PIECES: Final = 8
_POLL_SECONDS: Final = 1.0
_LIVENESS: Final = "/healthz"
_READINESS: Final = "/readyz"
_METRICS: Final = "/metrics"
_PROBES: Final = frozenset({_READINESS, _METRICS})
# What a probe waits for its answer at most: a database that hangs never says so.
PROBE_SECONDS: Final = 5.0
# Set in the environ of a request for `/metrics` that must not wait for the database.
WITHOUT_DATABASE: Final = "keeper.without_database"
# For so long an answer of `/readyz` is given to each probe; and while one asks again, for so long.
READY_SECONDS: Final = 1.0
OLDEST_READY_SECONDS: Final = 10.0
_STUCK: Final = "A check of /readyz does not answer."
_CHUNKED: Final = (
    "Keeper takes no chunked bodies, of which it could not see that one was cut: send the body with a "
    "Content-Length, or ask through its nginx, which adds one."
)
# Of a path, a status and a text.
Form = Callable[[str, HTTPStatus, str], tuple[str, bytes]]
logger = logging.getLogger(__name__)


class AnswerCut(Exception):
    """An answer ended in the middle."""


@dataclass(eq=False)
class Reading:
    """A body that a thread of the server reads: nothing interrupts it but the end of its connection."""

    began: float = field(default_factory=time.monotonic)
    received: int = 0


def plain_form(_path: str, _status: HTTPStatus, text: str) -> tuple[str, bytes]:
    """Return the media type and the body of a refusal as a text."""
    return "text/plain; charset=utf-8", f"{text}\n".encode()


class RequestThreads:
    """A WSGI application that has another one run by so many threads.

    `front` is asked first, in the server's thread: it answers at once, without the database, or not at all.
    `form` returns the media type and the body of a refusal, by the path.
    """

    def __init__(
        self,
        application: Application,
        threads: int,
        *,
        longest: int,
        front: Front = lambda _: None,
        form: Form = plain_form,
    ) -> None:
        self._application = application
        self._front = front
        self._form = form
        self._longest = longest
        self._requests = ThreadPoolExecutor(threads, "request")
        self._probes = ThreadPoolExecutor(1, "probe")
        self._hung: Future[Answer] | None = None
        self._streams = ThreadPoolExecutor(STREAM_THREADS, "stream")
        self._readings: set[Reading] = set()
        self._waiting = threading.BoundedSemaphore(MAX_WAITING)
        self._waiting_probes = threading.BoundedSemaphore(MAX_PROBES)
        self._ready: Answer | None = None
        self._ready_at = float("-inf")
        self._is_asking = False
        self._lock = threading.Lock()

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        """Send in the server's thread the response of another one."""
        if environ["PATH_INFO"] == _LIVENESS:
            return self._application(environ, start_response)
        try:
            self._take_body(environ)
            answer = self._front(environ) or self._answer(environ)
        except Refused as refused:
            answer = self._refusal(refused, environ)
        start_response(answer.status, answer.headers)
        return answer.body

    def _answer(self, environ: Environ) -> Answer:
        if environ["PATH_INFO"] == _READINESS and environ["REQUEST_METHOD"] == "GET":
            return self._readiness(environ)
        if environ["PATH_INFO"] in _PROBES:
            return self._probed(environ)
        if not self._waiting.acquire(blocking=False):
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, BUSY)
        try:
            return self._requests.submit(self._respond, environ).result()
        finally:
            self._waiting.release()

    def _readiness(self, environ: Environ) -> Answer:
        """Answer a probe as the last one: one of them asks again, and the others do not wait for it.

        Anyone may ask as often as they like, and a check may wait for a system that hangs.
        """
        with self._lock:
            age = time.monotonic() - self._ready_at
            if self._ready and age < (OLDEST_READY_SECONDS if self._is_asking else READY_SECONDS):
                return self._ready
            if self._ready and self._is_asking:
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, _STUCK)
            self._is_asking = True
        try:
            answer = self._probed(environ)
            with self._lock:
                self._ready, self._ready_at = answer, time.monotonic()
            return answer
        finally:
            with self._lock:
                self._is_asking = False

    def _probed(self, environ: Environ) -> Answer:
        """Answer a probe in time: while a check hangs, `/metrics` goes without the database."""
        if not self._waiting_probes.acquire(blocking=False):
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, BUSY)
        try:
            return self._probe(environ)
        except TimeoutError:
            if environ["PATH_INFO"] == _METRICS:
                return self._respond({**environ, WITHOUT_DATABASE: True})
            return self._refusal(Refused(HTTPStatus.SERVICE_UNAVAILABLE, _STUCK), environ)
        finally:
            self._waiting_probes.release()

    def _probe(self, environ: Environ) -> Answer:
        """Answer in the thread of probes. Raises TimeoutError if this one hangs, or an earlier one does."""
        if self._hung and not self._hung.done():
            raise TimeoutError
        pending = self._probes.submit(self._respond, environ)
        try:
            return pending.result(PROBE_SECONDS)
        except TimeoutError:
            if not pending.cancel():
                self._hung = pending
            raise

    def _take_body(self, environ: Environ) -> None:
        """Read a body into memory, for whatever answers the request; a probe has none."""
        if environ.get("HTTP_TRANSFER_ENCODING"):
            # The application would take it for an empty one.
            raise Refused(HTTPStatus.LENGTH_REQUIRED, _CHUNKED)
        text = environ.get("CONTENT_LENGTH", "")
        # The application refuses an invalid number.
        if text.isdecimal() and int(text) and environ["PATH_INFO"] not in _PROBES:
            environ["wsgi.input"] = io.BytesIO(self._body(environ["wsgi.input"], int(text)))

    def _respond(self, environ: Environ) -> Answer:
        answer = Answer("", [])

        def start(status: str, headers: Headers) -> None:
            answer.status, answer.headers = status, headers

        body = self._application(environ, start)
        if isinstance(body, list):
            answer.body = body
        elif _is_short(answer.headers):
            answer.body = _whole(body)
        else:
            # One thread makes all pieces of a long answer.
            answer.body = stream = Stream()
            self._streams.submit(stream.send, body)
        return answer

    def _refusal(self, refused: Refused, environ: Environ) -> Answer:
        media_type, body = self._form(environ["PATH_INFO"], refused.status, str(refused))
        headers = [
            ("Content-Type", media_type),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            ("Cache-Control", "no-store, private"),
        ]
        if refused.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append(("Retry-After", "1"))
        return Answer(f"{refused.status.value} {refused.status.phrase}", headers, [body])

    def has_late_bodies(self) -> bool:
        """Return whether a body is read that should be whole by now."""
        with self._lock:
            return any(time.monotonic() - each.began > BODY_SECONDS for each in self._readings)

    def _body(self, source: Any, length: int) -> bytes:
        if length > self._longest:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too large.")
        reading = Reading()
        with self._lock:
            if len(self._readings) >= MAX_BODIES:
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, BUSY)
            self._readings.add(reading)
        try:
            return b"".join(self._pieces(reading, source, length))
        finally:
            with self._lock:
                self._readings.discard(reading)

    def _pieces(self, reading: Reading, source: Any, length: int) -> Iterator[bytes]:
        while reading.received < length:
            piece = source.read(min(PIECE_BYTES, length - reading.received))
            if not piece:
                raise Refused(HTTPStatus.BAD_REQUEST, "The request ended in the middle.")
            reading.received += len(piece)
            with self._lock:
                held = sum(each.received for each in self._readings)
            if held > BODIES_BYTES:
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, BUSY)
            yield piece


class Stream:
    """The pieces of a long answer on their way from the thread that makes them to the server's."""

    def __init__(self) -> None:
        self._pieces: Queue[bytes | None] = Queue(_STREAM_PIECES)
        self._is_closed = False
        self._is_over = False
        self._is_whole = False

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces. If they are incomplete, yield a text that states it and raise AnswerCut."""
        while (piece := self._next()) is not None:
            yield piece
        if not self._is_whole:
            yield CUT
            raise AnswerCut("an answer ended in the middle")

    def send(self, body: Iterable[bytes]) -> None:
        """Make the pieces, until the client is gone or does not take any."""
        try:
            self._pass_on(body)
            self._is_whole = True
        except Full:
            logger.warning("an answer was cut: its client does not take it")
        except BaseException as error:
            # No caller sees an exception of this thread. Its message may hold anything, so it is not logged.
            logger.error("an answer was cut: %s", type(error).__name__)  # noqa: TRY400
            raise
        finally:
            self._end()

    def close(self) -> None:
        """Note that the rest is not read."""
        self._is_closed = True

    def _next(self) -> bytes | None:
        """Return the next piece, or None if none comes any more."""
        while True:
            with suppress(Empty):
                return self._pieces.get(timeout=_POLL_SECONDS)
            # The last piece may have come since.
            if self._is_over and self._pieces.empty():
                return None

    def _pass_on(self, body: Iterable[bytes]) -> None:
        """Hand over the pieces. Raises Full if the client does not take them in time."""
        ends = time.monotonic() + STREAM_TOTAL_SECONDS
        try:
            for piece in body:
                if self._is_closed:
                    return
                if time.monotonic() > ends:
                    raise Full
                self._pieces.put(piece, timeout=STREAM_SECONDS)
        finally:
            _close(body)

    def _end(self) -> None:
        self._is_over = True
        # The reader of a full queue finds the end when it has taken the rest.
        with suppress(Full):
            self._pieces.put_nowait(None)


def _is_short(headers: Headers) -> bool:
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    return bool(lengths) and int(lengths[0]) <= WHOLE_BYTES


def _whole(body: Iterable[bytes]) -> list[bytes]:
    try:
        return list(body)
    finally:
        _close(body)


def _close(body: Any) -> None:
    if close := getattr(body, "close", None):
        close()
