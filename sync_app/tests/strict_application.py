"""A WSGI application over a table of routes; tests choose what fails, and act before a request."""

import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, ClassVar
from wsgiref.handlers import format_date_time

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

# 2026-01-01T00:00:00Z: the clock of a stand-in moves by a second with each change, and never by itself.
START = 1_767_225_600
Handler = Callable[..., tuple[int, Any]]


class Refused(Exception):
    """An answer other than a success."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


class StrictApplication:
    """Answers by `routes`: (method, pattern, what tests call it, handler)."""

    routes: ClassVar[tuple[tuple[str, str, str, Handler], ...]] = ()

    def __init__(self) -> None:
        self.now = START
        # Status by the name of a route; 0 does the act and loses the answer. One answer each.
        self.failing: dict[str, int] = {}
        # Of answers that fail, of every answer, and of the answer under way.
        self.headers: dict[str, str] = {}
        self.always: dict[str, str] = {}
        self.answer_headers: dict[str, str] = {}
        # Names of routes that answer as before the last change, so many times each: another machine's answer.
        self.lagging: Counter[str] = Counter()
        # What a failing answer says, where that matters.
        self.refusal: Refused | None = None
        self.denied: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.before: dict[str, Callable[[], object]] = {}
        self.lock = threading.RLock()

    def tick(self) -> int:
        """Return the time of a change."""
        self.now += 1
        return self.now

    def authenticate(self, request: Request, verb: str) -> None:
        """Raise Refused for credentials that may not do this."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        verb = "unknown"
        try:
            verb, handler, given = self._route(request)
            self.calls[verb] += 1
            if hook := self.before.pop(verb, None):
                hook()
            status, content, headers = self._answer(request, verb, handler, given)
        except Refused as error:
            status, content, headers = error.status, {"message": error.message}, dict(error.headers)
        if self.failing.pop(verb, None) == 0:
            with suppress(OSError):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        told = b"" if content is None else json.dumps(content).encode()
        return Response(told, status=status, headers=headers | self.always, content_type="application/json")(
            environ, start_response
        )

    def _answer(
        self, request: Request, verb: str, handler: Handler, given: Mapping[str, str]
    ) -> tuple[int, Any, dict[str, str]]:
        self.authenticate(request, verb)
        if self.failing.get(verb):
            raise self.refusal or Refused(self.failing[verb], "as a test asked for", self.headers)
        with self.lock:
            self.answer_headers = {}
            return *handler(self, request, **given), self.answer_headers

    def _route(self, request: Request) -> tuple[str, Handler, Mapping[str, str]]:
        # As it was sent: an encoded slash is no separator.
        path = request.environ["RAW_URI"].partition("?")[0]
        for method, pattern, verb, handler in self.routes:
            if method == request.method and (found := re.fullmatch(pattern, path)):
                return verb, handler, found.groupdict()
        raise Refused(404, "Not Found")


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the time of the stand-in."""
        return format_date_time(self.server.app.now)  # type: ignore[attr-defined]  # of werkzeug's servers

    def log(self, type: str, message: str, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def serving(application: StrictApplication) -> Iterator[str]:
    """Serve a stand-in, and yield its address."""
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
