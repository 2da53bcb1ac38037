"""Plain requests of Keeper's own API, answered before any view: polls, list pages, whole exports.

A poll of a manifest or an export by a token is answered in front of Django, by the read engine, if nothing
changed. A test holds the answers together with those of ManifestView and ExportView, which answer whatever
this leaves.

The plain page of a list of secrets by a program's token is answered in front of Django, as SecretListView
does (a test holds them together). The plain export of a whole environment by a token comes from its
snapshot, and is answered as ExportView does (a test holds them together). Only what succeeds is answered
here; what is refused, edited or merely unusual is left to the general path, which decides, answers and
records.

For a list, Django's handler, middlewares and REST framework take a third of a page's time on the general
path, and composing the statement another. The export runs behind the middlewares that set headers, and
needs no view: the snapshot is the JSON of the answer.
"""

import re
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from django.core.handlers.wsgi import get_path_info
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import ResolverMatch, resolve

from audit_app.errors import KeyringUnavailable
from audit_app.middleware import Middleware
from core.errors import BadQuery
from core.http.json import MEDIA_TYPE, JsonRenderer
from core.http.problems import Problem, log_failure, plain_problem_response, problem_of
from core.http.requests import Answer, Environ, Headers, times_of
from core.pagination import asked_page, link_to
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.authorization.policy import Grant, Principal
from environments_app.errors import AccessError, BadToken, TooManyRequests
from environments_app.tokens.authentication import authenticate_in_environment, verify_proven
from environments_app.tokens.request_rate import may_request, take_back_request
from gateway_app.engine.reads import ListPoll, ReadRequest
from gateway_app.lanes import (
    ACCEPTED,
    CommonHeaders,
    Head,
    PlainPoll,
    PlainRead,
    caller_of,
    has_no_body,
    is_plain,
)
from secrets_app.api.environment_secrets import EXPORT
from secrets_app.api.environment_secrets import KIND as MANIFEST
from secrets_app.api.secrets import SecretListView
from secrets_app.api.serializers import SecretDocument
from secrets_app.errors import InvalidName, SecretError
from secrets_app.metrics import UNCHANGED_LISTS
from secrets_app.models import Secret
from secrets_app.queries.listed import only_grant, page_rows
from secrets_app.queries.states import known_etags, state_of
from secrets_app.rows.raw_secrets import SecretRow
from secrets_app.services.exporting import EXPORT_RENDERERS
from secrets_app.services.read import export_snapshot
from secrets_app.values.names import validate_prefix

_LIST: Final = re.compile(r"/api/environments/([^/]+)/(manifest|export)")
_VIEWS: Final = {MANIFEST: "api-manifest", EXPORT: "api-export"}
# What both views allow.
_POLL_ALLOWED: Final = ("Allow", "GET, HEAD, OPTIONS")
_JSON: Final = EXPORT_RENDERERS[0].format
_FORMS: Final = frozenset(each.format for each in EXPORT_RENDERERS)


def list_poll(environ: Environ) -> PlainPoll | None:
    """Return the poll that a request of the REST API is."""
    known = environ.get("HTTP_IF_NONE_MATCH")
    named = _LIST.fullmatch(get_path_info(environ)) if known and has_no_body(environ) else None
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    asked = _polled(environ, named[2]) if named and scheme == "Bearer" else None
    caller = caller_of(environ, token) if asked else None
    if named is None or asked is None or caller is None:
        return None
    prefix, form = asked
    poll = ListPoll(*caller, named[1], prefix, form, known_etags(environ["HTTP_IF_NONE_MATCH"]))
    return PlainPoll(poll, _VIEWS[named[2]], _headers, UNCHANGED_LISTS.labels(named[2]))


def _polled(environ: Environ, kind: str) -> tuple[str, str] | None:
    """Return the prefix and the form that are asked for; None if anything else is."""
    text, accepted = environ.get("QUERY_STRING", ""), environ.get("HTTP_ACCEPT", "")
    query = QueryDict(text).dict() if text else {}
    if not text.isascii() or query.keys() - ({"prefix"} if kind == MANIFEST else {"prefix", "format"}):
        return None
    form = MANIFEST if kind == MANIFEST else str(query.get("format", _JSON))
    plain = {"", "*/*", MEDIA_TYPE} if form in {MANIFEST, _JSON} else {"", "*/*"}
    if accepted not in plain or form not in {MANIFEST, *_FORMS}:
        return None
    try:
        return validate_prefix(str(query.get("prefix", ""))), form
    except InvalidName:
        return None


def _headers(etag: str) -> Headers:
    return [_POLL_ALLOWED, ("ETag", f'"{etag}"')]


_EXPORT: Final = re.compile(r"/api/environments/([^/]+)/export")
_FORM: Final = "json"
_QUERIES: Final = frozenset({"", "format=json"})
_ACCEPTED: Final = frozenset({"", "*/*", MEDIA_TYPE})
# What ExportView allows.
_EXPORT_ALLOWED: Final = "GET, HEAD, OPTIONS"


class SnapshotExportMiddleware(Middleware):
    """Answers the plain export of an environment that has a snapshot of its rows."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return _answer(request) or self.get_response(request)


def _answer(request: HttpRequest) -> HttpResponse | None:
    scheme, _, raw = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    named = _EXPORT.fullmatch(request.path_info)
    if named is None or scheme != "Bearer" or not _is_plain(request):
        return None
    try:
        actor, environment = authenticate_in_environment(
            raw, address=address_of(request), request_id=request_id_of(request)
        )
    except (BadToken, TooManyRequests):
        return None
    # What is left to the general path has proved itself, and is counted, once.
    request.bearer = raw, actor  # type: ignore[attr-defined]  # ours, on Django's request
    if environment is None or environment.name != named[1] or not environment.is_authentic():
        return None
    request.resolver_match = _route()
    try:
        # Before the values are read: a change in between is sent again, and none is missed.
        state = state_of(actor, environment, form=_FORM)
        values = export_snapshot(actor=actor, environment=environment)
    except (SecretError, AccessError) as error:
        # Recorded by now, so that the general path must not try again.
        problem = problem_of(error)
        if problem is None:
            raise
        log_failure(error, problem)
        return plain_problem_response(problem)
    if values is None:
        return None
    headers = {"Allow": _EXPORT_ALLOWED, "ETag": f'"{state}"', "Content-Length": str(len(values))}
    return HttpResponse(values, content_type=MEDIA_TYPE, headers=headers)


def _is_plain(request: HttpRequest) -> bool:
    meta = request.META
    accepted = meta.get("HTTP_ACCEPT", "") in _ACCEPTED and "HTTP_IF_NONE_MATCH" not in meta
    return request.method == "GET" and accepted and meta.get("QUERY_STRING", "") in _QUERIES


@cache
def _route() -> ResolverMatch:
    """Return the route under which it is measured."""
    return resolve("/api/environments/any/export")


_BY_ID: Final = re.compile(r"/api/secrets/([1-9][0-9]{0,17})")
_BY_NAME: Final = re.compile(r"/api/environments/([^/]+)/secrets/(.+)")
# The routes' names, and what their views allow.
_VIEW_BY_ID: Final = ("api-secret", "GET, PUT, PATCH, DELETE, HEAD, OPTIONS")
_VIEW_BY_NAME: Final = ("api-named-secret", "GET, PUT, DELETE, HEAD, OPTIONS")
DOCUMENT: Final = SecretDocument()
RENDERER: Final = JsonRenderer()


def rest_read(environ: Environ) -> PlainRead | None:
    """Return the plain read that a request of the REST API is, by id or by name."""
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme != "Bearer" or not is_plain(environ):
        return None
    path = get_path_info(environ)
    by_id, by_name = _BY_ID.fullmatch(path), _BY_NAME.fullmatch(path)
    caller = caller_of(environ, token) if by_id or by_name else None
    if caller is None:
        return None
    known = known_etags(environ.get("HTTP_IF_NONE_MATCH", ""))
    if by_id:
        request, (view, allowed) = ReadRequest(*caller, secret_id=int(by_id[1]), known=known), _VIEW_BY_ID
    elif by_name:
        request, (view, allowed) = (
            ReadRequest(*caller, environment=by_name[1], name=by_name[2], known=known),
            _VIEW_BY_NAME,
        )

    def headers(etag: str) -> Headers:
        return [("Allow", allowed), ("ETag", f'"{etag}"')]

    def fail(problem: Problem) -> HttpResponse:
        response = plain_problem_response(problem)
        response["Allow"] = allowed
        return response

    return PlainRead(request, view, headers, _body, fail)


def _body(secret: SecretRow, value: str) -> bytes:
    document: dict[str, Any] = DOCUMENT.to_representation(secret)
    document["value"] = value
    return RENDERER.render(document)


_PATH: Final = "/api/secrets"
_VIEW: Final = "api-secrets"
_ENVIRONMENT: Final = "environment"
_PARAMETERS: Final = frozenset({"limit", "cursor", "ordering", _ENVIRONMENT})
_LIST_ALLOWED: Final = ("Allow", "GET, POST, HEAD, OPTIONS")


class PlainLists:
    """Answers the plain pages that a token's one grant shows, in a thread of the application.

    `begin` is called before the database is asked, as Django does before each request.
    """

    def __init__(self, begin: Callable[[], None] = lambda: None) -> None:
        self._begin = begin
        self._common_headers = CommonHeaders()

    def __call__(self, environ: Environ) -> Answer | None:
        """Return the answer; None is for Django."""
        started = time.perf_counter()
        parameters = _parameters(environ)
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        caller = caller_of(environ, token) if parameters is not None and scheme == "Bearer" else None
        common = self._common_headers.of(environ) if caller else None
        if parameters is None or caller is None or common is None:
            return None
        self._begin()
        body = _page(environ, parameters, caller)
        if body is None:
            return None
        own = [("Content-Type", MEDIA_TYPE), _LIST_ALLOWED, ("Content-Length", str(len(body)))]
        answer = Answer("200 OK", [*common, ("X-Request-ID", caller[-1]), *own], [body])
        times_of(_VIEW, "GET", "2xx").observe(time.perf_counter() - started)
        return answer


def _parameters(environ: Environ) -> Mapping[str, str] | None:
    """Return the parameters of a plain page; None if anything else is asked for."""
    if environ.get("SCRIPT_NAME") or get_path_info(environ) != _PATH or not has_no_body(environ):
        return None
    text = environ.get("QUERY_STRING", "")
    accepted = environ.get("HTTP_ACCEPT", "") in ACCEPTED and not environ.get("HTTP_COOKIE")
    if not accepted or text.count("&") >= len(_PARAMETERS):
        return None
    parameters: Mapping[str, str] = QueryDict(text)
    return parameters if text.isascii() and parameters.keys() <= _PARAMETERS else None


def _page(environ: Environ, parameters: Mapping[str, str], caller: tuple[str, str, str, str]) -> bytes | None:
    """Return the page, if the token shows it; it counts then as a request of the token."""
    public_id, secret, address, request_id = caller
    try:
        actor = verify_proven(public_id, secret, address=address, request_id=request_id)
    except BadToken:
        return None
    grant = _grant(actor, parameters.get(_ENVIRONMENT, "")) if actor else None
    if grant is None:
        return None
    body = None
    try:
        if may_request(public_id):
            body = _rendered(environ, parameters, grant)
    except (BadQuery, KeyringUnavailable):
        return None
    finally:
        if body is None:
            # The general path counts it.
            take_back_request(public_id)
    return body


def _grant(actor: Principal, environment: str) -> Grant | None:
    """Return the one grant of a token, unless another environment than its own is asked for."""
    grant = only_grant(actor)
    if grant is None or environment not in {"", grant.environment_name, str(grant.environment_id)}:
        return None
    return grant


def _rendered(environ: Environ, parameters: Mapping[str, str], grant: Grant) -> bytes | None:
    page = asked_page(parameters, Secret, SecretListView)
    found = page_rows(grant, page)
    if found is None:
        return None
    rows, following, previous = page.cut(found)
    head = Head(environ)
    head.path = _PATH
    url = head.build_absolute_uri()
    return RENDERER.render(
        {
            "results": [DOCUMENT.to_representation(row) for row in rows],
            "next": link_to(url, following),
            "previous": link_to(url, previous),
        }
    )
