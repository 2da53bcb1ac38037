"""The plain export of a whole environment by a token, answered from its snapshot.

It answers what succeeds as ExportView does (a test holds them together); all else is left to the general
path, which decides, answers and records. It runs behind the middlewares that set headers, and needs no view:
the snapshot is the JSON of the answer.
"""

import re
from functools import cache
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch, resolve

from audit_app.middleware import Middleware
from core.http.json import MEDIA_TYPE
from core.http.problems import log_failure, plain_problem_response, problem_of
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.errors import AccessError, BadToken, TooManyRequests
from environments_app.tokens.authentication import authenticate_in_environment
from secrets_app.errors import SecretError
from secrets_app.queries.states import state_of
from secrets_app.services.read import export_snapshot

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
