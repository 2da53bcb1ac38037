"""Who is calling: service tokens and sessions for the API, and the principal of any request."""

import time
from dataclasses import dataclass, replace

from django.conf import settings
from django.http import HttpRequest
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from audit_app.recording.refusals import refuse
from core.clock import SLACK
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import anonymous_principal, user_principal
from environments_app.errors import BadToken
from environments_app.models import User
from environments_app.sessions.store import CONFIRMED, SIGNED_IN, stored_key
from environments_app.tokens.bearers import bearer_of

_SCHEME = "bearer"


@dataclass(frozen=True)
class TokenBearer:
    """What `request.user` is when a token calls."""

    principal: Principal
    is_authenticated: bool = True
    is_active: bool = True
    is_anonymous: bool = False
    pk: None = None

    def __str__(self) -> str:
        return self.principal.name


class ServiceTokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer kpr_…`, or kpu_… of a person; `request.auth` is the principal."""

    def authenticate(self, request: Request) -> tuple[TokenBearer, Principal] | None:
        """Return the bearer, or None if the request carries no Authorization header.

        Raises AuthenticationFailed for any other scheme and any token that opens nothing: each is
        counted as a refusal. Raises TooManyRefusals if the address was refused too often.
        """
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        http = plain_request(request)
        address = address_of(http)
        try:
            principal = bearer_of(_bearer(header), address=address, request_id=request_id_of(http))
        except BadToken as error:
            refuse(kind=error.reason, address=address)
            raise AuthenticationFailed from error
        # What else looks at the plain request (the history of configuration) sees who acts.
        http.principal = principal  # type: ignore[attr-defined]  # ours, on Django's request
        return TokenBearer(principal), principal

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - the signature of DRF
        """Return the challenge that makes DRF answer 401 instead of 403."""
        return 'Bearer realm="keeper"'


class SessionAuthentication(authentication.SessionAuthentication):
    """A signed-in browser, with CSRF enforced by DRF's own rule."""


def _bearer(header: str) -> str:
    scheme, _, raw = header.partition(" ")
    if scheme.lower() != _SCHEME:
        raise BadToken("unknown-scheme")
    return raw.strip()


def principal_of(request: Request | HttpRequest) -> Principal:
    """Return who makes a request, of the API or of a page, computed once a request."""
    if isinstance(request, Request) and isinstance(request.auth, Principal):
        return request.auth
    http = plain_request(request)
    principal: Principal | None = getattr(http, "principal", None)
    if principal is None:
        principal = session_principal(http)
        http.principal = principal  # type: ignore[attr-defined]  # ours, on Django's request
    return principal


def session_principal(request: HttpRequest) -> Principal:
    """Return the principal of a request's session; someone unknown has no rights."""
    user = getattr(request, "user", None)
    address, request_id = address_of(request), request_id_of(request)
    if isinstance(user, User):
        confirmed, key = is_confirmed(request), request.session.session_key
        person = user_principal(user, address=address, request_id=request_id, confirmed=confirmed)
        return replace(person, session=stored_key(key) if key else None)
    return anonymous_principal(address, request_id)


def is_confirmed(request: HttpRequest) -> bool:
    """Return whether the session's user has a fresh proof of identity."""
    session = request.session
    # 0: signed in by a provider that does not say when it asked for credentials.
    since = time.time() - session.get(CONFIRMED, session.get(SIGNED_IN, 0))
    # One that is to come was noted by a clock that was ahead.
    return bool(-SLACK.total_seconds() <= since <= settings.KEEPER_REAUTH_SECONDS)


def plain_request(request: Request | HttpRequest) -> HttpRequest:
    """Return Django's request behind DRF's."""
    return request._request if isinstance(request, Request) else request  # noqa: SLF001 - DRF has no other way


def address_of(request: HttpRequest) -> str:
    """Return the client's address, which RequestContextMiddleware found."""
    return str(getattr(request, "client_address", ""))


def request_id_of(request: HttpRequest) -> str:
    """Return the request's id, which RequestContextMiddleware gave."""
    return str(getattr(request, "request_id", ""))
