"""The plain read of a value by a token of the REST API, by id or by name.

The read engine answers it as SecretView and NamedSecretView do; a test holds them together.
"""

import re
from typing import Any, Final

from django.core.handlers.wsgi import get_path_info
from django.http import HttpResponse

from core.http.json import JsonRenderer
from core.http.problems import Problem, plain_problem_response
from core.http.requests import Environ, Headers
from keeper_project.http.recorded_read import PlainRead, caller_of, is_plain
from secrets_app.api.serializers import SecretDocument
from secrets_app.queries.states import known_etags
from secrets_app.read_engine.raw_secrets import SecretRow
from secrets_app.read_engine.recorded_read import ReadRequest

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
