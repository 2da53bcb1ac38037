"""All that is answered before a view, by one list of lanes: a lane grants, or says nothing.

A door recognises the plain requests of a protocol. What it asks of the read engine is granted in the thread
of the server. What needs the database is granted by a thread of the application, behind the middlewares
that give every answer its headers. A refusal, an absent or edited row and anything unusual is left to the
views, which decide, answer and record. Tests compare each answer of a lane with that of its view.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial, reduce
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from django.urls.resolvers import RoutePattern
from django.utils.module_loading import import_string

from audit_app.middleware import GetResponse, Middleware, drop_untrusted_headers, request_id_of
from core.http.json import MEDIA_TYPE
from core.http.problems import Problem, log_failure, problem_of
from core.http.requests import BUSY, Answer, Environ, Headers, Refused, times_of
from core.network.client_address import client_address
from environments_app.errors import BadToken
from environments_app.tokens.authentication import parse
from environments_app.tokens.request_rate import may_request, take_back_request
from gateway_app.engine.client import EngineBusy, ReadEngine
from gateway_app.engine.reads import RecordedRead, Request, Served, Unchanged
from secrets_app.errors import EnvelopeError, SecretError
from secrets_app.rows.raw_secrets import SecretRow
from secrets_app.services.read import open_granted

ACCEPTED: Final = frozenset({"", "*/*", MEDIA_TYPE})
# They give every answer its headers.
_HEADERS: Final = (
    "django.middleware.security.SecurityMiddleware",
    "keeper_project.http.middleware.HeadersMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)
# What a thread of the application has to grant; no client can name it.
_WORK: Final = "keeper.lane"
Granted = TypeVar("Granted")


class Route:
    """A route by its name, from which a door has its path, its parameters and what its view allows."""

    def __init__(self, name: str) -> None:
        self.name = name

    def match(self, request: HttpRequest) -> dict[str, Any] | None:
        """Return the parameters of a request to the route, None for any other request."""
        found = self._place[0].match(request.path_info[1:])
        return found[2] if found else None

    @cached_property
    def allowed(self) -> str:
        """What the header Allow of its view names."""
        return ", ".join(self._place[1].allowed_methods)

    @cached_property
    def _place(self) -> tuple[RoutePattern, Any]:
        """The pattern of its whole path, and its view."""
        for path, pattern in _patterns(get_resolver().url_patterns, ""):
            if pattern.name == self.name:
                view = cast("Any", pattern.callback).view_class()
                # It takes HEAD where it has GET.
                view.setup(HttpRequest())
                return RoutePattern(path, is_endpoint=True), view
        raise LookupError(self.name)


class PlainRead(NamedTuple):
    """What a door asks of the read engine, and how its protocol answers.

    `answer` takes the secret and its value, `fail` what keeps a recorded value from being opened, and
    `unchanged` the ETag of what the caller has already, for a door that passes ETags on.
    """

    request: Request
    route: Route
    answer: Callable[[SecretRow, str], HttpResponse]
    fail: Callable[[Problem], HttpResponse]
    unchanged: Callable[[str], HttpResponse] | None = None


# What a thread of the application grants; None leaves the request to the view.
Work: TypeAlias = Callable[[HttpRequest], HttpResponse | None]
# What recognises the plain requests of a protocol; None for any other request.
Door: TypeAlias = Callable[[HttpRequest], PlainRead | Work | None]
# Public id and secret of a token, its caller's address and request id.
Caller: TypeAlias = tuple[str, str, str, str]


class Lanes:
    """Answers what the read engine grants, in the thread of the server; None is for the application."""

    def __init__(self, engine: ReadEngine, doors: Sequence[Door]) -> None:
        self._engine, self._doors = engine, tuple(doors)
        middlewares = [import_string(path) for path in reversed(_HEADERS)]
        self._common: dict[bool, Headers] = {}
        self._with_headers: GetResponse = reduce(lambda inner, outer: outer(inner), middlewares, _answer_of)

    def __call__(self, environ: Environ) -> Answer | None:
        """Return the answer, or None. Raises Refused if too many wait."""
        started = time.perf_counter()
        path = environ["PATH_INFO"]
        request = WSGIRequest(environ)
        # Django stores the decoded path there, and the application decodes it once more.
        environ["PATH_INFO"] = path
        plain = next((plain for door in self._doors if (plain := door(request))), None)
        if not isinstance(plain, PlainRead):
            if plain:
                environ[_WORK] = plain
            return None
        response = self._response(plain, environ)
        if response is None:
            return None
        status, body = response.status_code, response.content
        times_of(plain.route.name, str(request.method), f"{status // 100}xx").observe(
            time.perf_counter() - started
        )
        headers = [
            *response.items(),
            *self._common_headers(request, response),
            ("X-Request-ID", plain.request.request_id),
            ("Content-Length", str(len(body))),
        ]
        return Answer(f"{status} {response.reason_phrase}", headers, [body])

    def _common_headers(self, request: HttpRequest, response: HttpResponse) -> Headers:
        """Return the headers that every answer has: those that the middlewares add to the first one."""
        is_secure = request.is_secure()
        if is_secure not in self._common:
            own = {*response.headers}
            request.lane_answer = response  # type: ignore[attr-defined]  # ours, on Django's request
            added = self._with_headers(request).items()
            self._common[is_secure] = [(name, value) for name, value in added if name not in own]
        return self._common[is_secure]

    def _response(self, plain: PlainRead, environ: Environ) -> HttpResponse | None:
        read: Served = None
        try:
            read = counted(plain.request.public_id, partial(self._engine.read, plain.request))
        except EngineBusy as busy:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, BUSY) from busy
        if read is None or isinstance(read, Unchanged):
            return plain.unchanged(read.etag) if read and plain.unchanged else None
        try:
            value = read.open()
        except EnvelopeError:
            value = None
        if value is None:
            # A thread of the application opens it by KMS, or records why not, by its connection.
            environ[_WORK] = partial(_open, plain, read)
            return None
        return plain.answer(read.secret, value)


class LaneMiddleware(Middleware):
    """Answers what a lane grants in a thread of the application; the view answers all else."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        work: Work | None = request.META.get(_WORK)
        response = work(request) if work else None
        if response is None:
            return self.get_response(request)
        # The metrics count it under its route.
        request.resolver_match = resolve(request.path_info)
        # CommonMiddleware, which sets it elsewhere, is not reached.
        response["Content-Length"] = str(len(response.content))
        return response


def counted(public_id: str, grant: Callable[[], Granted]) -> Granted | None:
    """Return what a token is granted, and count the request if it is: else the view counts it."""
    granted: Granted | None = None
    try:
        if may_request(public_id):
            granted = grant()
    finally:
        if granted is None:
            take_back_request(public_id)
    return granted


def bearer(request: HttpRequest) -> str:
    """Return the token of the header Authorization, "" if it holds anything else."""
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return token if scheme == "Bearer" else ""


def caller_of(request: HttpRequest, token: str) -> Caller | None:
    """Return who sends a token; None if it is malformed, or the request unusual."""
    try:
        public_id, secret = parse(token)
    except BadToken:
        return None
    origin = origin_of(request)
    return (public_id, secret, *origin) if origin else None


def origin_of(request: HttpRequest) -> tuple[str, str] | None:
    """Return the address and the id of a request; None if its host is unusual, or it would be redirected."""
    drop_untrusted_headers(request.META)
    try:
        request.get_host()
    except DisallowedHost:
        return None
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        return None
    return client_address(request), request_id_of(request.META)


def is_plain(request: HttpRequest) -> bool:
    """Return whether a request asks for nothing besides what its address names."""
    meta = request.META
    return has_no_body(request) and meta.get("HTTP_ACCEPT", "") in ACCEPTED and not meta.get("QUERY_STRING")


def has_no_body(request: HttpRequest) -> bool:
    """Return whether it is a GET without a body."""
    return request.method == "GET" and request.META.get("CONTENT_LENGTH", "") in {"", "0"}


def _answer_of(request: HttpRequest) -> HttpResponse:
    response: HttpResponse = request.lane_answer  # type: ignore[attr-defined]  # ours, on Django's request
    return response


def _open(plain: PlainRead, read: RecordedRead, _request: HttpRequest) -> HttpResponse:
    """Answer a read that is recorded, and whose value is not open yet or does not open."""
    try:
        value = open_granted(read.value, read.receipt, read.draft)
    except SecretError as error:
        problem = problem_of(error)
        if problem is None:
            raise
        log_failure(error, problem)
        return plain.fail(problem)
    return plain.answer(read.secret, value)


def _patterns(patterns: Sequence[URLPattern | URLResolver], before: str) -> Iterator[tuple[str, URLPattern]]:
    """Yield each route with the whole path that leads to it."""
    for each in patterns:
        path = f"{before}{each.pattern}"
        if isinstance(each, URLPattern):
            yield path, each
        else:
            yield from _patterns(each.url_patterns, path)
