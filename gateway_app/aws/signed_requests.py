"""Signing keys of sessions, handed out to containers, and the requests that they sign.

The credentials endpoint takes a service token and gives a session's signing key. A request is judged by its
date, its session, its signature and the token behind it.
"""

import base64
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from audit_app.recording.refusals import refuse
from core.http.json import MEDIA_TYPE, JsonRenderer
from core.http.problems import log_failure, problem_of
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.authorization.policy import Principal
from environments_app.errors import BadToken
from environments_app.tokens.bearers import TokenSession, begin_session, open_session, session_bearer
from gateway_app.aws.answers import SignatureRefused
from gateway_app.aws.sigv4 import (
    Authorization,
    IncompleteSignature,
    Request,
    is_signed_by,
    parse_authorization,
    signing_key,
)
from gateway_app.protocol import ProtocolView

_BEARER: Final = "bearer "
_DENIED: Final = "The token in AWS_CONTAINER_AUTHORIZATION_TOKEN is not valid here."


def key_id_of(session: TokenSession) -> str:
    """Return the access key id of a session, of the form of temporary ones."""
    return "ASIA" + base64.b32encode(session.id.bytes[:10]).decode("ascii")


class ContainerCredentialsView(ProtocolView):
    """What SDKs ask at AWS_CONTAINER_CREDENTIALS_FULL_URI."""

    http_method_names = ["get", "head", "options"]

    def failed(self, error: Exception) -> HttpResponse | None:
        if isinstance(error, BadToken):
            return _answer({"code": "AccessDenied", "message": _DENIED}, status=HTTPStatus.FORBIDDEN)
        problem = problem_of(error)
        if problem is None:
            return None
        log_failure(error, problem)
        answer = _answer({"code": problem.title, "message": problem.detail}, status=problem.status)
        for name, value in problem.headers.items():
            answer[name] = value
        return answer

    def get(self, request: HttpRequest) -> HttpResponse:
        """Return the credentials of a new session of the token that comes as `Authorization`."""
        session, text = _begun(request)
        return _answer(
            {
                "AccessKeyId": key_id_of(session),
                "SecretAccessKey": session.key,
                "Token": text,
                "Expiration": f"{session.expires_at:%Y-%m-%dT%H:%M:%SZ}",
            }
        )


def _begun(request: HttpRequest) -> tuple[TokenSession, str]:
    """Return a new session and its text. Raises BadToken, which is counted, and TooManyRefusals."""
    address = address_of(request)
    given = request.headers.get("Authorization", "").strip()
    raw = given[len(_BEARER) :].strip() if given.lower().startswith(_BEARER) else given
    try:
        return begin_session(raw, address=address, request_id=request_id_of(request))
    except BadToken as error:
        refuse(kind=error.reason if raw else "no-credentials", address=address)
        raise


def _answer(body: Any, *, status: int = HTTPStatus.OK) -> HttpResponse:
    return HttpResponse(JsonRenderer().render(body), status=status, content_type=MEDIA_TYPE)


SERVICE: Final = "secretsmanager"
STS: Final = "sts"
MAX_SKEW: Final = timedelta(minutes=15)
_TIME: Final = "%Y%m%dT%H%M%SZ"
# The headers that WSGI names without HTTP.
_BARE: Final = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})
_MAX_SCOPES: Final = 8
# What a signature must cover besides the body: to whom it goes, when, and by which session.
_COVERED: Final = ("host", "x-amz-date", "x-amz-security-token")
# What it must cover besides, by the service that it is for: what is asked, where that is not in the body.
_COVERED_BY: Final = {SERVICE: ("x-amz-target",), STS: ()}

_NO_CREDENTIALS: Final = "Missing Authentication Token"
_UNKNOWN: Final = "The security token included in the request is invalid."
_EXPIRED: Final = "The security token included in the request is expired"
_DIFFERS: Final = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method."
)


def signer_of(request: HttpRequest, *, service: str = SERVICE) -> tuple[Principal, Authorization]:
    """Return who signed a request to a service, and how.

    Raises SignatureRefused, which is counted, and TooManyRefusals for an address that was refused too often.
    """
    address = address_of(request)
    try:
        given, session = proven(request, service=service)
        actor = session_bearer(session.public_id, address=address, request_id=request_id_of(request))
    except SignatureRefused as refused:
        refuse(kind=refused.reason, address=address)
        raise
    except BadToken as error:
        refuse(kind=error.reason, address=address)
        raise SignatureRefused("UnrecognizedClientException", _UNKNOWN, reason=error.reason) from error
    return actor, given


def proven(request: HttpRequest, *, service: str = SERVICE) -> tuple[Authorization, TokenSession]:
    """Return the signature of a request and the session that made it. Raises SignatureRefused, BadToken."""
    given = _authorization(request, service)
    time = _checked_time(request, given)
    session = open_session(_header(request, "x-amz-security-token"))
    if given.key_id != key_id_of(session):
        raise BadToken("forged-session")
    if session.is_over:
        raise SignatureRefused("ExpiredTokenException", _EXPIRED, reason="expired-session")
    signed = Request(
        method=request.method or "",
        path=request.path,
        query=request.META.get("QUERY_STRING", ""),
        headers={name: _header(request, name) for name in given.signed_headers},
        body=request.body,
    )
    if not is_signed_by(_signing_key(session, given), signed, given, time=time):
        raise SignatureRefused("InvalidSignatureException", _DIFFERS, reason="bad-signature")
    return given, session


def _header(request: HttpRequest, name: str) -> str:
    """Return a header by its name in lower case: `request.headers` is made of all, and takes longer."""
    key = name.upper().replace("-", "_")
    return str(request.META.get(key if key in _BARE else f"HTTP_{key}", ""))


def _signing_key(session: TokenSession, given: Authorization) -> bytes:
    """Return the session's key for a day, a region and this service, which are few in a minute."""
    found = session.derived.get(given.scope)
    if found is None:
        if len(session.derived) >= _MAX_SCOPES:
            session.derived.clear()
        found = session.derived[given.scope] = signing_key(session.key, given)
    return found


def _authorization(request: HttpRequest, service: str) -> Authorization:
    text = _header(request, "authorization")
    if not text:
        raise SignatureRefused(
            "MissingAuthenticationTokenException", _NO_CREDENTIALS, reason="no-credentials"
        )
    try:
        given = parse_authorization(text)
    except IncompleteSignature as error:
        raise _incomplete(str(error)) from error
    if given.service != service:
        raise SignatureRefused(
            "InvalidSignatureException",
            f"Credential should be scoped to correct service: '{service}'.",
            reason="bad-signature",
        )
    for name in (*_COVERED, *_COVERED_BY[service]):
        if name not in given.signed_headers or not _header(request, name):
            raise _incomplete(f"'{name}' must be a header that is signed.")
    return given


def _checked_time(request: HttpRequest, given: Authorization) -> str:
    """Return the time of a request, which is about now. Raises SignatureRefused."""
    text = _header(request, "x-amz-date")
    try:
        at = _time(text)
    except ValueError as error:
        raise _incomplete("'x-amz-date' must be a time such as 20150830T123600Z.") from error
    if given.date != text[:8]:
        raise SignatureRefused(
            "InvalidSignatureException",
            "Date in Credential scope does not match X-Amz-Date.",
            reason="bad-signature",
        )
    now = timezone.now()
    if abs(now - at) > MAX_SKEW:
        word = "expired" if at < now else "not yet current"
        message = f"Signature {word}: the request's time is more than 15 minutes from {now:{_TIME}}"
        raise SignatureRefused("InvalidSignatureException", message, reason="skewed-signature")
    return text


@lru_cache(maxsize=64)
def _time(text: str) -> datetime:
    """Return the time of a text, which many requests of a second have in common. Raises ValueError."""
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)


def _incomplete(message: str) -> SignatureRefused:
    return SignatureRefused("IncompleteSignatureException", message, reason="malformed-signature")
