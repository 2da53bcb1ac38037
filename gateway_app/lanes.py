"""The plain read of a value by a token, answered in front of Django by the read engine.

It answers what succeeds as the views of a protocol do (tests hold them together) and nothing else: what is
refused, absent, edited or merely unusual is left to the general path, which decides, answers and records.
A door recognises the plain reads of its protocol.
"""

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple, TypeAlias

from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import get_path_info
from django.http import HttpRequest, HttpResponse
from django.urls import resolve
from django.utils.module_loading import import_string
from prometheus_client import Counter

from audit_app.middleware import GetResponse, Middleware, drop_untrusted_headers, request_id_of
from core.http.json import MEDIA_TYPE
from core.http.problems import Problem, log_failure, problem_of
from core.http.requests import BUSY, Answer, Environ, Headers, Refused, times_of
from core.network.client_address import client_address
from environments_app.errors import BadToken
from environments_app.tokens.authentication import parse
from environments_app.tokens.request_rate import may_request, take_back_request
from gateway_app.engine.client import EngineBusy, ReadEngine
from gateway_app.engine.reads import ListPoll, ReadRequest, RecordedRead, Request, Served, Unchanged
from secrets_app.errors import EnvelopeError, SecretError
from secrets_app.metrics import UNCHANGED_READS
from secrets_app.rows.raw_secrets import SecretRow
from secrets_app.services.read import open_granted

ACCEPTED: Final = frozenset({"", "*/*", MEDIA_TYPE})
# The middlewares that give every answer its headers.
_COMMON: Final = (
    "django.middleware.security.SecurityMiddleware",
    "keeper_project.http.middleware.NoStoreMiddleware",
    "keeper_project.http.middleware.ContentSecurityPolicyMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)
# A read that is recorded and whose value is not open yet: no client can name it.
_UNOPENED: Final = "keeper.unopened_read"


class PlainRead(NamedTuple):
    """A plain read of one protocol: what is asked of the engine, and how the protocol answers.

    `view` is the name of the route that answers what the engine does not. `headers` takes the secret's ETag,
    `body` the value; `fail` answers a value that is recorded and does not open.
    """

    request: ReadRequest
    view: str
    headers: Callable[[str], Headers]
    body: Callable[[SecretRow, str], bytes]
    fail: Callable[[Problem], HttpResponse]
    method: str = "GET"
    media_type: str = MEDIA_TYPE
    unchanged: Counter = UNCHANGED_READS


class PlainPoll(NamedTuple):
    """A plain poll of a list, which is answered if it is unchanged."""

    request: ListPoll
    view: str
    headers: Callable[[str], Headers]
    unchanged: Counter
    method: str = "GET"


# What recognises the plain reads of a protocol; None for any other request.
Door: TypeAlias = Callable[[Environ], PlainRead | PlainPoll | None]


class RecordedReads:
    """Answers what the engine grants, in the thread of the server; None is for the application."""

    def __init__(self, engine: ReadEngine, doors: Sequence[Door]) -> None:
        self._engine = engine
        self._doors = tuple(doors)
        self._common_headers = CommonHeaders()

    def __call__(self, environ: Environ) -> Answer | None:
        """Return the answer, or None. Raises Refused if too many wait."""
        started = time.perf_counter()
        asked = self._asked(environ)
        common = self._common_headers.of(environ) if asked else None
        if asked is None or common is None:
            return None
        read = self._served(asked.request)
        if read is None:
            return None
        own = [*common, ("X-Request-ID", asked.request.request_id)]
        try:
            answer = _answered(asked, read, own)
        except EnvelopeError:
            answer = None
        if answer is None:
            # The application opens it by KMS, or records why not, by a connection of its own.
            environ[_UNOPENED] = read, asked
            return None
        times_of(asked.view, asked.method, f"{answer.status[0]}xx").observe(time.perf_counter() - started)
        return answer

    def _asked(self, environ: Environ) -> PlainRead | PlainPoll | None:
        return next((asked for door in self._doors if (asked := door(environ))), None)

    def _served(self, request: Request) -> Served:
        """Return what the engine grants, and count the request if it does: else the application counts it."""
        if not may_request(request.public_id):
            take_back_request(request.public_id)
            return None
        read: Served = None
        try:
            read = self._engine.read(request)
        except EngineBusy as busy:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, BUSY) from busy
        finally:
            if read is None:
                take_back_request(request.public_id)
        return read


class UnopenedReadMiddleware(Middleware):
    """Answers a read that the engine has recorded and whose value is not open yet, or does not open."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        unopened: tuple[RecordedRead, PlainRead] | None = request.META.get(_UNOPENED)
        if unopened is None:
            return self.get_response(request)
        # The metrics count it under its route.
        request.resolver_match = resolve(request.path_info)
        response = self._answered(*unopened)
        # CommonMiddleware, which sets it elsewhere, is not reached.
        response["Content-Length"] = str(len(response.content))
        return response

    def _answered(self, read: RecordedRead, asked: PlainRead) -> HttpResponse:
        try:
            value = open_granted(read.value, read.receipt, read.draft)
        except SecretError as error:
            problem = problem_of(error)
            if problem is None:
                raise
            log_failure(error, problem)
            return asked.fail(problem)
        headers = dict(asked.headers(read.etag))
        return HttpResponse(asked.body(read.secret, value), content_type=asked.media_type, headers=headers)


class Head(HttpRequest):
    """A request as far as its headers go: making a whole one takes as long as all that is asked of it."""

    def __init__(self, environ: Environ) -> None:
        self.META = environ

    def _get_scheme(self) -> str:
        return str(self.META["wsgi.url_scheme"])


def caller_of(environ: Environ, token: str) -> tuple[str, str, str, str] | None:
    """Return public id and secret of a token, its caller's address and request id; None if one is unusual."""
    try:
        public_id, secret = parse(token)
    except BadToken:
        return None
    origin = origin_of(Head(environ))
    return (public_id, secret, *origin) if origin else None


def origin_of(head: Head) -> tuple[str, str] | None:
    """Return the address and the id of a request; None if its host is unusual."""
    drop_untrusted_headers(head.META)
    try:
        head.get_host()
    except DisallowedHost:
        return None
    return client_address(head), request_id_of(head.META)


def is_plain(environ: Environ) -> bool:
    """Return whether a request asks for nothing besides what its address names."""
    return (
        has_no_body(environ)
        and environ.get("HTTP_ACCEPT", "") in ACCEPTED
        and not environ.get("QUERY_STRING")
    )


def has_no_body(environ: Environ) -> bool:
    """Return whether it is a GET without a body."""
    return environ["REQUEST_METHOD"] == "GET" and environ.get("CONTENT_LENGTH", "") in {"", "0"}


def _answered(
    asked: PlainRead | PlainPoll, read: RecordedRead | Unchanged, headers: Headers
) -> Answer | None:
    """Return the answer to what was granted; None if its data key is not open. Raises EnvelopeError."""
    headers = [*headers, *asked.headers(read.etag)]
    # Who polls a list gets nothing else.
    if isinstance(asked, PlainPoll) or isinstance(read, Unchanged):
        asked.unchanged.inc()
        return Answer("304 Not Modified", [*headers, ("Content-Length", "0")], [b""])
    value = read.open()
    if value is None:
        return None
    body = asked.body(read.secret, value)
    own = [("Content-Type", asked.media_type), ("Content-Length", str(len(body)))]
    return Answer("200 OK", [*headers, *own], [body])


class CommonHeaders:
    """The headers that every answer has, by the middlewares that give them, which run once."""

    def __init__(self) -> None:
        self._by_security: dict[bool, Headers | None] = {}

    def of(self, environ: Environ) -> Headers | None:
        """Return them for the answer to a request; None if it is another one, such as a redirect."""
        is_secure = Head(environ).is_secure()
        if is_secure not in self._by_security:
            self._by_security[is_secure] = _headers_of_middlewares(environ)
        return self._by_security[is_secure]


def _headers_of_middlewares(environ: Environ) -> Headers | None:
    """Return what the middlewares that give headers make of an answer without any."""

    def answer(_request: HttpRequest) -> HttpResponse:
        return HttpResponse(content_type=MEDIA_TYPE)

    respond: GetResponse = answer
    for path in reversed(_COMMON):
        respond = import_string(path)(respond)
    request = Head(environ)
    request.path = request.path_info = get_path_info(environ)
    response = respond(request)
    headers = [(name, value) for name, value in response.items() if name != "Content-Type"]
    return headers if response.status_code == HTTPStatus.OK else None
