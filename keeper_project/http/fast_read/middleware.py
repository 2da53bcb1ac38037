"""The hot read: one secret's value for a service token, without the generality of the framework.

It answers what succeeds as SecretView and NamedSecretView do (a test holds them together) and
nothing else: what is refused, absent, edited or merely unusual is left to the general path, which
decides, answers and records. Token, environment, secret and version come in one statement, and
each proves itself as it does there (`hot_row`). It runs after the middleware that sets headers and before
sessions, which a token does not have.
"""

import re
from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse

from audit_app.events.actions import Action
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.authorization.policy import Principal, allows
from environments_app.errors import BadToken
from environments_app.tokens.service import parse, verify_preloaded
from keeper_project.http.fast_read.query import HotSecret, TokenReadRow, row_by_id, row_by_name
from keeper_project.http.json import MEDIA_TYPE, JsonRenderer
from keeper_project.http.problem_details import log_failure, plain_problem_response, problem_of
from secrets_app.errors import SecretError
from secrets_app.services.read import open_recorded

GetResponse = Callable[[HttpRequest], HttpResponse]

_BY_ID: Final = re.compile(r"/api/secrets/([1-9][0-9]{0,17})")
_BY_NAME: Final = re.compile(r"/api/environments/([^/]+)/secrets/(.+)")
_ACCEPTED: Final = frozenset({"", "*/*", MEDIA_TYPE})
# What SecretView and NamedSecretView allow.
_ALLOWED_BY_ID: Final = "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"
_ALLOWED_BY_NAME: Final = "GET, PUT, DELETE, HEAD, OPTIONS"
_RIGHTS: Final = (Action.ENVIRONMENT_VIEW, Action.SECRET_VIEW, Action.SECRET_REVEAL)
_RENDERER: Final = JsonRenderer()


class HotReadMiddleware:
    """Answers the plainest read of a value by a token."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer here if it can be, else further in."""
        return _answer(request) or self.get_response(request)


def _answer(request: HttpRequest) -> HttpResponse | None:
    scheme, _, raw = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme != "Bearer" or not _is_plain(request):
        return None
    # CommonMiddleware, which checks the host's name, runs later.
    request.get_host()
    try:
        public_id, secret = parse(raw)
        found, allow = _find(request.path_info, public_id)
        if found is None:
            return None
        token, grants = found.bearer
        address, request_id = address_of(request), request_id_of(request)
        actor = verify_preloaded(token, secret, grants=grants, address=address, request_id=request_id)
    except BadToken:
        return None
    # Behind no route, it is measured under a name of its own.
    request.answered_by = "hot-read"  # type: ignore[attr-defined]
    response = _revealed(actor, found)
    if response is not None:
        response.headers["Allow"] = allow
    return response


def _is_plain(request: HttpRequest) -> bool:
    meta = request.META
    accepted = meta.get("HTTP_ACCEPT", "") in _ACCEPTED
    return request.method == "GET" and accepted and not meta.get("QUERY_STRING")


def _find(path: str, public_id: str) -> tuple[TokenReadRow | None, str]:
    """Return the row of the path's secret and the token, and what the path's view allows."""
    if by_id := _BY_ID.fullmatch(path):
        return row_by_id(int(by_id[1]), public_id=public_id), _ALLOWED_BY_ID
    if by_name := _BY_NAME.fullmatch(path):
        return row_by_name(by_name[1], by_name[2], public_id=public_id), _ALLOWED_BY_NAME
    return None, ""


def _revealed(actor: Principal, found: TokenReadRow) -> HttpResponse | None:
    secret = found.secret
    if not _may_read(actor, secret):
        return None
    try:
        value = open_recorded(
            found.value,
            actor=actor,
            action=Action.SECRET_REVEAL,
            stream=secret.stream,
            object=secret.audit_object,
            version=found.version,
            details={"number": found.number},
        )
    except SecretError as error:
        # Recorded by now, so that the general path must not try again.
        problem = problem_of(error)
        if problem is None:
            raise
        log_failure(error, problem)
        return plain_problem_response(problem)
    body = b"".join((secret.document, b',"value":', _RENDERER.render(value), b"}"))
    headers = {"ETag": secret.etag, "Content-Length": str(len(body))}
    return HttpResponse(body, content_type=MEDIA_TYPE, headers=headers)


def _may_read(actor: Principal, secret: HotSecret) -> bool:
    """Ask the policy. The grant is that of an environment which has proved itself."""
    return all(
        allows(actor, right, environment_id=secret.environment_id, name=secret.name) for right in _RIGHTS
    )
