"""The plain page of a list of secrets by a program's token, answered in front of Django.

It answers what succeeds as SecretListView does (a test holds them together) and nothing else: what is
refused, edited or merely unusual is left to the general path, which decides, answers and records. There
Django's handler, middlewares and REST framework take a third of a page's time, and composing the statement
another.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from django.core.handlers.wsgi import get_path_info
from django.http import QueryDict

from audit_app.errors import KeyringUnavailable
from audit_app.pagination import asked_page, link_to
from core.errors import BadQuery
from core.http.json import MEDIA_TYPE
from core.http.requests import Answer, Environ, times_of
from environments_app.authorization.policy import Grant, Principal
from environments_app.errors import BadToken
from environments_app.tokens.authentication import verify_proven
from environments_app.tokens.request_rate import may_request, take_back_request
from keeper_project.http.recorded_read import ACCEPTED, CommonHeaders, Head, caller_of, has_no_body
from keeper_project.http.rest import DOCUMENT, RENDERER
from secrets_app.api.secrets import SecretListView
from secrets_app.models import Secret
from secrets_app.queries.plain_pages import only_grant, page_rows

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
