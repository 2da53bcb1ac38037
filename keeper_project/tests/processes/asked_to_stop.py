"""Serves pages over and over, each time until asked to stop: `python -m keeper_project.tests.processes.asked_to_stop PORT`.

Fails, and says how often which way of asking was not heard.
"""

import http.client
import multiprocessing
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from keeper_project.runtime.server import serve_pages

STOPS = 8
START_SECONDS = 60.0
# Who has not heard goes on for good.
STOP_SECONDS = 60.0
SERVER_TWICE, WORKER_TWICE, BEGINNING = WAYS = ("server, twice", "worker, twice", "as the worker begins")
# What a worker takes to begin, and a little more.
BEGIN_MILLISECONDS = 40


def hello(_environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answer, as a WSGI application."""
    start_response("200 OK", [])
    return [b"hello"]


def answers(port: int) -> bool:
    """Say whether a request is answered."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=STOP_SECONDS)) as connection:
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except OSError:
            return False


def until(holds: Callable[[], object]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("it never served")
        time.sleep(0.001)


def heard(port: int, way: str) -> bool:
    """Serve, ask to stop in one of the ways, and say whether that was heard."""
    serving = multiprocessing.get_context("fork").Process(
        target=serve_pages,
        args=(hello,),
        kwargs={"host": "127.0.0.1", "port": port, "workers": 1, "threads": 1},
    )
    serving.start()
    server = serving.pid or 0
    children = Path(f"/proc/{server}/task/{server}/children")
    worker = 0
    try:
        until(children.read_text)
        worker = int(children.read_text())
        ask(port, way, server, worker)
        serving.join(STOP_SECONDS)
        return serving.exitcode is not None
    finally:
        for pid in filter(None, (worker, server)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        serving.join()


def ask(port: int, way: str, server: int, worker: int) -> None:
    """Ask one of the two to stop, in one of the ways."""
    if way == BEGINNING:
        time.sleep(secrets.randbelow(BEGIN_MILLISECONDS) / 1000)
        os.kill(server, signal.SIGTERM)
        return
    until(lambda: answers(port))
    asked = worker if way == WORKER_TWICE else server
    os.kill(asked, signal.SIGINT)
    # Between the two it may have had the time to end, and its parent to see that.
    with suppress(ProcessLookupError):
        os.kill(asked, signal.SIGTERM)


if __name__ == "__main__":
    lost = {way: sum(not heard(int(sys.argv[1]), way) for _ in range(STOPS)) for way in WAYS}
    if any(lost.values()):
        sys.exit(f"Not heard: {lost}")
