"""Who signs a request: its date, its session, its signature and the token behind it."""

from datetime import UTC, datetime, timedelta
from typing import Final

from django.http import HttpRequest
from django.utils import timezone

from audit_app.network.refusal_limiter import refuse
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.authorization.policy import Principal
from environments_app.errors import BadToken
from environments_app.tokens.bearers import session_bearer
from environments_app.tokens.sessions import TokenSession, open_session
from keeper_project.aws.answers import SignatureRefused
from keeper_project.aws.credentials import key_id_of
from keeper_project.aws.sigv4 import (
    Authorization,
    IncompleteSignature,
    Request,
    is_signed_by,
    parse_authorization,
)

SERVICE: Final = "secretsmanager"
STS: Final = "sts"
MAX_SKEW: Final = timedelta(minutes=15)
_TIME: Final = "%Y%m%dT%H%M%SZ"
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
    session = _session(request, given)
    signed = Request(
        method=request.method or "",
        path=request.path,
        query=request.META.get("QUERY_STRING", ""),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=request.body,
    )
    if not is_signed_by(session.key, signed, given, time=time):
        raise SignatureRefused("InvalidSignatureException", _DIFFERS, reason="bad-signature")
    return given, session


def _authorization(request: HttpRequest, service: str) -> Authorization:
    text = request.headers.get("Authorization", "")
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
        if name not in given.signed_headers or not request.headers.get(name):
            raise _incomplete(f"'{name}' must be a header that is signed.")
    return given


def _checked_time(request: HttpRequest, given: Authorization) -> str:
    """Return the time of a request, which is about now. Raises SignatureRefused."""
    text = request.headers["X-Amz-Date"]
    try:
        at = datetime.strptime(text, _TIME).replace(tzinfo=UTC)
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


def _session(request: HttpRequest, given: Authorization) -> TokenSession:
    session = open_session(request.headers["X-Amz-Security-Token"])
    if given.key_id != key_id_of(session):
        raise BadToken("forged-session")
    if session.is_over:
        raise SignatureRefused("ExpiredTokenException", _EXPIRED, reason="expired-session")
    return session


def _incomplete(message: str) -> SignatureRefused:
    return SignatureRefused("IncompleteSignatureException", message, reason="malformed-signature")
