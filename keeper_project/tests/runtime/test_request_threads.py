"""Long answers and probes: whoever does not read, or hangs, holds up nobody, and a cut answer says so."""

import logging
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from core.config.sizes import SERVER_THREADS
from core.http.requests import Environ, Start
from gateway_app.engine import client
from keeper_project.runtime import request_threads
from keeper_project.runtime.request_threads import CUT, AnswerCut, RequestThreads, Stream
from keeper_project.tests.processes.test_stopping import until
from tests.processes import ROOT
from tests.served import answers, environment
from tests.servers.server import free_port

WAIT_SECONDS = 60.0
CANARY = "kanarienvogel"


def broken() -> Iterator[bytes]:
    yield b"first"
    raise RuntimeError(CANARY)


class Endless:
    """An answer that nobody could take whole; it notes that it was closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"more"

    def close(self) -> None:
        self.closed.set()
        raise RuntimeError(CANARY)


def sent(stream: Stream, body: object) -> threading.Thread:
    def send() -> None:
        try:
            stream.send(body)  # type: ignore[arg-type]
        except RuntimeError:
            return

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def test_an_answer_whose_maker_fails_is_cut_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    stream = Stream()
    maker = sent(stream, broken())
    maker.join(WAIT_SECONDS)
    with pytest.raises(AnswerCut):
        list(stream)
    # The pool of another test's server may cut an answer meanwhile.
    own = [line for line in caplog.records if line.thread == maker.ident]
    assert [(line.levelno, line.getMessage()) for line in own] == [
        (logging.ERROR, "an answer was cut: RuntimeError")
    ]
    assert CANARY not in caplog.text


def test_a_cut_answer_says_so_in_its_text() -> None:
    stream = Stream()
    sent(stream, broken()).join(WAIT_SECONDS)
    pieces = iter(stream)
    assert [next(pieces), next(pieces)] == [b"first", CUT]
    with pytest.raises(AnswerCut):
        next(pieces)


SERVES = f"""
import sys, django
django.setup()
from keeper_project.runtime.server import serve_pages
def broken():
    yield b"first"
    raise RuntimeError("{CANARY}")
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/csv")])
    return broken()
serve_pages(application, host="127.0.0.1", port=int(sys.argv[1]), workers=1, threads=1)
"""


def test_the_server_passes_on_that_an_answer_is_cut(tmp_path: Path) -> None:
    port = free_port()
    output = tmp_path / "output"
    with output.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVES, str(port)],
            cwd=ROOT, stdout=out, stderr=out,
            env={**environment(tmp_path), "DJANGO_SETTINGS_MODULE": "keeper_project.settings"},
        )  # fmt: skip
    try:
        until(lambda: answers(port), output.read_text())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=WAIT_SECONDS) as reply:
            assert reply.read() == b"first" + CUT
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)
    assert "an answer was cut: RuntimeError" in output.read_text()
    assert CANARY not in output.read_text()


def test_a_whole_answer_ends_well() -> None:
    stream = Stream()
    thread = sent(stream, iter([b"a", b"b"] * 20))
    assert b"".join(stream) == b"ab" * 20
    thread.join(WAIT_SECONDS)


def test_a_client_that_reads_on_too_late_gets_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_threads, "STREAM_SECONDS", 0.2)
    stream, body = Stream(), Endless()
    maker = sent(stream, body)
    pieces = iter(stream)
    assert next(pieces) == b"more"
    maker.join(WAIT_SECONDS)
    assert body.closed.is_set()
    assert ends(pieces), "the reader waits for ever"


def test_an_answer_has_a_time_altogether(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_threads, "STREAM_TOTAL_SECONDS", 0.3)
    stream = Stream()
    sent(stream, Endless())
    assert ends(iter(stream)), "it goes on for ever"


def ends(pieces: Iterator[bytes]) -> bool:
    """Read on in a thread, and return whether it was told that the answer is cut."""
    told = threading.Event()

    def read() -> None:
        try:
            for _ in pieces:
                pass
        except AnswerCut:
            told.set()

    threading.Thread(target=read, daemon=True).start()
    return told.wait(WAIT_SECONDS)


def start(_status: str, _headers: list[tuple[str, str]]) -> None:
    """Take the head of an answer."""


def test_streams_that_nobody_reads_hold_up_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    # No stream is cut before the page has come, however long that takes here.
    monkeypatch.setattr(request_threads, "STREAM_SECONDS", 2 * WAIT_SECONDS)
    bodies = [Endless() for _ in range(4)]
    waiting = iter(bodies)

    def application(environ: Environ, start_response: Start) -> object:
        start_response("200 OK", [])
        return next(waiting) if environ["PATH_INFO"] == "/report" else [b"page"]

    threads = RequestThreads(application, 2, longest=1000)  # type: ignore[arg-type]
    streams = [threads({"PATH_INFO": "/report"}, start) for _ in bodies]
    answered = threading.Event()

    def ask() -> None:
        if list(threads({"PATH_INFO": "/page"}, start)) == [b"page"]:
            answered.set()

    threading.Thread(target=ask, daemon=True).start()
    is_free = answered.wait(WAIT_SECONDS)
    for stream in streams:
        stream.close()  # type: ignore[attr-defined]
        next(iter(stream))
    for body in bodies:
        # What its thread logs is of this test.
        assert body.closed.wait(WAIT_SECONDS)
    assert is_free, "the page waits for readers of reports"


def test_probes_that_hang_are_bounded() -> None:
    go_on, statuses = threading.Event(), []

    def application(_environ: Environ, start_response: Start) -> list[bytes]:
        go_on.wait(WAIT_SECONDS)
        start_response("200 OK", [])
        return [b""]

    threads = RequestThreads(application, 1, longest=1000)

    def probe() -> None:
        environ = {"PATH_INFO": "/metrics", "REQUEST_METHOD": "GET"}
        threads(environ, lambda status, _headers: statuses.append(status))

    asking = [threading.Thread(target=probe, daemon=True) for _ in range(12)]
    for each in asking:
        each.start()
    deadline = time.monotonic() + WAIT_SECONDS
    while len(statuses) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    refused = list(statuses)
    go_on.set()
    for each in asking:
        each.join(WAIT_SECONDS)
    assert refused == ["503 Service Unavailable"] * 4
    assert statuses.count("200 OK") == 8


class Body:
    """What a client sends: some bytes, and then nothing until it is let go."""

    def __init__(self, sent: int = 0) -> None:
        self._left = sent
        self.go_on = threading.Event()
        self.is_waiting = threading.Event()

    def read(self, most: int) -> bytes:
        if not self._left:
            self.is_waiting.set()
            self.go_on.wait(WAIT_SECONDS)
            return b""
        piece = min(most, self._left)
        self._left -= piece
        return b"a" * piece


def takes_bodies(longest: int = 1000) -> RequestThreads:
    def application(environ: Environ, start_response: Start) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    return RequestThreads(application, 1, longest=longest)


def post(threads: RequestThreads, body: Body, length: int) -> str:
    """Send a request with a body, and return the status of its answer."""
    statuses: list[str] = []
    environ = {"PATH_INFO": "/sign-in", "CONTENT_LENGTH": str(length), "wsgi.input": body}
    threads(environ, lambda status, _headers: statuses.append(status))
    return statuses[0]


def waiting(threads: RequestThreads, bodies: list[Body]) -> list[threading.Thread]:
    """Send requests whose bodies do not come, and return the threads that wait for them."""
    asking = [threading.Thread(target=post, args=(threads, body, 500), daemon=True) for body in bodies]
    for thread, body in zip(asking, bodies, strict=True):
        thread.start()
        assert body.is_waiting.wait(WAIT_SECONDS)
    return asking


def let_go(bodies: list[Body], asking: list[threading.Thread]) -> None:
    for body, thread in zip(bodies, asking, strict=True):
        body.go_on.set()
        thread.join(WAIT_SECONDS)


def test_bodies_that_do_not_come_are_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_threads, "MAX_BODIES", 3)
    threads, bodies = takes_bodies(), [Body() for _ in range(3)]
    asking = waiting(threads, bodies)
    assert post(threads, Body(10), 10) == "503 Service Unavailable"
    let_go(bodies, asking)
    assert post(threads, Body(10), 10) == "200 OK"


def test_bodies_take_a_bounded_memory_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_threads, "BODIES_BYTES", 800)
    threads, bodies = takes_bodies(), [Body(400)]
    asking = waiting(threads, bodies)
    assert post(threads, Body(500), 500) == "503 Service Unavailable"
    assert post(threads, Body(300), 300) == "200 OK"
    let_go(bodies, asking)
    assert post(threads, Body(500), 500) == "200 OK"


def test_a_body_that_is_too_long_is_not_read() -> None:
    body = Body(2000)
    assert post(takes_bodies(), body, 1001) == f"413 {HTTPStatus.REQUEST_ENTITY_TOO_LARGE.phrase}"
    assert len(body.read(2000)) == 2000
    assert post(takes_bodies(), Body(1000), 1000) == "200 OK"


def test_a_body_that_ends_in_the_middle_reaches_nobody() -> None:
    body = Body(10)
    body.go_on.set()
    assert post(takes_bodies(), body, 20) == "400 Bad Request"


def test_some_threads_of_the_server_are_free_whatever_waits() -> None:
    """So that probes are answered while the database answers nobody."""
    held = request_threads.MAX_WAITING + request_threads.MAX_PROBES + request_threads.MAX_BODIES
    assert held + client.MAX_WAITING < SERVER_THREADS


def probe(threads: RequestThreads, method: str = "GET") -> tuple[str, bytes]:
    statuses: list[str] = []
    environ = {"PATH_INFO": "/readyz", "REQUEST_METHOD": method}
    body = threads(environ, lambda status, _headers: statuses.append(status))
    return statuses[0], b"".join(body)


class Checks:
    """An application whose checks hang when they are told to, and count how often they were asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, _environ: Environ, start_response: Start) -> list[bytes]:
        self.asked += 1
        self.may_answer.wait(WAIT_SECONDS)
        start_response("200 OK", [])
        return [str(self.asked).encode()]


def test_many_probes_ask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = Checks()
    threads = RequestThreads(checks, 1, longest=1000)

    assert {probe(threads) for _ in range(50)} == {("200 OK", b"1")}
    monkeypatch.setattr(request_threads, "READY_SECONDS", 0.0)
    assert probe(threads) == ("200 OK", b"2")


def test_a_check_that_hangs_holds_up_one_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_threads, "READY_SECONDS", 0.0)
    checks = Checks()
    threads = RequestThreads(checks, 1, longest=1000)
    assert probe(threads) == ("200 OK", b"1")
    checks.may_answer.clear()
    hanging = threading.Thread(target=probe, args=(threads,), daemon=True)
    hanging.start()
    until(lambda: checks.asked == 2, "no probe asked")

    assert {probe(threads) for _ in range(50)} == {("200 OK", b"1")}
    monkeypatch.setattr(request_threads, "OLDEST_READY_SECONDS", 0.0)
    assert probe(threads)[0] == "503 Service Unavailable"
    checks.may_answer.set()
    hanging.join(WAIT_SECONDS)
    assert probe(threads) == ("200 OK", b"3")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_first_check_that_hangs_is_answered_in_time(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(request_threads, "READY_SECONDS", 0.0)
    monkeypatch.setattr(request_threads, "PROBE_SECONDS", 0.2)
    checks = Checks()
    checks.may_answer.clear()
    threads = RequestThreads(checks, 1, longest=1000)

    assert {probe(threads, method)[0] for _ in range(20)} == {"503 Service Unavailable"}
    # Those after the first one are not even asked, so that none of them waits either.
    assert checks.asked == 1
    monkeypatch.setattr(request_threads, "PROBE_SECONDS", WAIT_SECONDS)
    checks.may_answer.set()
    until(lambda: probe(threads, method)[0] == "200 OK", "it does not come back")


def test_metrics_go_without_a_database_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_threads, "PROBE_SECONDS", 0.2)
    go_on = threading.Event()

    def application(environ: Environ, start_response: Start) -> list[bytes]:
        start_response("200 OK", [])
        if request_threads.WITHOUT_DATABASE not in environ:
            go_on.wait(WAIT_SECONDS)
        return [b"some" if request_threads.WITHOUT_DATABASE in environ else b"all"]

    threads = RequestThreads(application, 1, longest=1000)
    environ = {"PATH_INFO": "/metrics", "REQUEST_METHOD": "GET"}
    assert threads(dict(environ), start) == [b"some"]
    go_on.set()
    until(lambda: threads(dict(environ), start) == [b"all"], "it does not come back")


def test_a_chunked_body_is_refused_and_not_taken_for_an_empty_one() -> None:
    statuses: list[str] = []
    environ = {
        "PATH_INFO": "/api/secrets", "REQUEST_METHOD": "POST", "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": Body(10),
    }  # fmt: skip
    body = takes_bodies()(environ, lambda status, _headers: statuses.append(status))

    assert statuses == ["411 Length Required"]
    assert b"Content-Length" in b"".join(body)
