"""What Keeper answers of AWS STS: a session for a workload's token, and whose session signs a request.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, tostring

from django.core.exceptions import BadRequest, RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from core.http.problems import log_failure, problem_of
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.errors import Invisible, JwtRefused, KeysUnavailable
from environments_app.models import Trust
from environments_app.tokens.bearers import TokenSession, session_of
from environments_app.trusts.sign_in import SignedIn, sign_in
from gateway_app.aws.answers import PROTOCOL, AwsError, SignatureRefused
from gateway_app.aws.names import Account, account_number
from gateway_app.aws.signed_requests import STS, key_id_of, signer_of
from gateway_app.protocol import ProtocolView

ASSUME_ROLE: Final = "AssumeRoleWithWebIdentity"
CALLER_IDENTITY: Final = "GetCallerIdentity"
OPERATIONS: Final = (ASSUME_ROLE, CALLER_IDENTITY)
# An account that stands for that of the trust, whose name is unique in the installation.
ANY_ACCOUNT: Final = "000000000000"
_VERSION: Final = "2011-06-15"
NAMESPACE: Final = f"https://sts.amazonaws.com/doc/{_VERSION}/"
_MAX_BODY: Final = 64 * 1024
_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::([0-9]{12}):role/([a-z0-9._-]{1,100})")
_SESSION_NAME: Final = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_DURATION: Final = re.compile(r"[0-9]{3,5}")
_SECONDS: Final = (900, 43_200)
# What would narrow the session, or means another kind of token: to ignore it would give more than was asked.
_UNSUPPORTED: Final = ("Policy", "PolicyArns.", "ProviderId", "Tags.", "TransitiveTagKeys.")
# What only a token that the issuer signed for this audience can cause; all else is one refusal.
_OF_A_CLAIM: Final = frozenset({"jwt-claim", "jwt-subject", "jwt-no-id", "jwt-replayed"})
_NOT_VALID: Final = "The web identity token that was passed could not be validated."
_EXPIRED: Final = "The web identity token that was passed is expired."
_DENIED: Final = "Not authorized to perform sts:{}"
# What may be in the name of a role.
_NOT_IN_ARNS: Final = re.compile(r"[^A-Za-z0-9_+=,.@-]")
_UNREACHABLE: Final = "The identity provider (IDP) that was asked to verify the token could not be reached."
# What STS calls the refusals of a signature, by the names that other services have for them.
_UNSIGNED: Final = {
    "MissingAuthenticationTokenException": ("MissingAuthenticationToken", HTTPStatus.FORBIDDEN),
    "IncompleteSignatureException": ("IncompleteSignature", HTTPStatus.BAD_REQUEST),
    "InvalidSignatureException": ("SignatureDoesNotMatch", HTTPStatus.FORBIDDEN),
    "UnrecognizedClientException": ("InvalidClientTokenId", HTTPStatus.FORBIDDEN),
    "ExpiredTokenException": ("ExpiredToken", HTTPStatus.FORBIDDEN),
}
_BY_STATUS: Final = {
    400: ("ValidationError", HTTPStatus.BAD_REQUEST),
    413: ("ValidationError", HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    429: ("Throttling", HTTPStatus.TOO_MANY_REQUESTS),
}


class StsView(ProtocolView):
    """Answers the two operations, and errors as the protocol does."""

    http_method_names = ["post", "options"]

    def failed(self, error: Exception) -> HttpResponse | None:
        answer = _refusal_of(error)
        return _failed(self.request, answer) if answer else None

    @method_decorator(sensitive_post_parameters())
    def post(self, request: HttpRequest) -> HttpResponse:
        """Sign a workload in and return a session of its token, or return whose session signs the request.

        Raises AwsError, and what `sign_in` and `signer_of` raise.
        """
        if len(request.body) > _MAX_BODY:
            raise RequestDataTooBig
        try:
            given = request.POST.dict()
        except (MultiPartParserError, BadRequest) as error:
            raise _invalid("The body must be a form.") from error
        if _operation(given) == CALLER_IDENTITY:
            return _respond(request, _caller_identity(request))
        account, role = _role(_member(given, "RoleArn", most=2048))
        session_name = _session_name(given)
        entered = sign_in(
            trust_name=role if account in {ANY_ACCOUNT, _account_of(role)} else "",
            jwt=_member(given, "WebIdentityToken", most=20_000),
            address=address_of(request),
            request_id=request_id_of(request),
            lifetime=_lifetime(given),
            details={**PROTOCOL, "session": session_name},
        )
        session, text = session_of(entered.token)
        return _respond(request, _result(entered, session, text, session_name))

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Answer a method that the address does not take: a token must not be in an address."""
        error = AwsError("InvalidAction", _unknown("of this method"), status=HTTPStatus.METHOD_NOT_ALLOWED)
        error.headers["Allow"] = str(self.options(request)["Allow"])
        return _failed(request, error)


def _operation(given: Mapping[str, str]) -> str:
    action, version = given.get("Action", ""), given.get("Version", "")
    if not action:
        raise AwsError("MissingAction", "The request must contain the parameter Action.")
    if action not in OPERATIONS or version != _VERSION:
        raise AwsError("InvalidAction", _unknown("of this name and version"))
    for name in given:
        if name.startswith(_UNSUPPORTED):
            raise _invalid(
                f"Keeper does not take {name.partition('.')[0]}: the trust decides what a session may."
            )
    return action


def _unknown(which: str) -> str:
    known = " and ".join(OPERATIONS)
    return f"Could not find an operation {which}. Keeper answers POST {known}, version {_VERSION}."


def _member(given: Mapping[str, str], name: str, *, most: int) -> str:
    text = given.get(name, "")
    if not 0 < len(text) <= most:
        raise _invalid(f"{name} must have 1 to {most} characters.")
    return text


def _role(arn: str) -> tuple[str, str]:
    """Return the account and the trust that an ARN names. Raises AwsError."""
    found = _ROLE.fullmatch(arn)
    if found is None:
        raise _invalid(f"RoleArn must be of the form arn:aws:iam::{ANY_ACCOUNT}:role/TRUST.")
    return found[1], found[2]


def _account_of(name: str) -> str:
    trust = Trust.objects.select_related("environment").filter(name=name).first()
    return account_number(trust.environment) if trust and not trust.environment.deleted_at else ""


def _session_name(given: Mapping[str, str]) -> str:
    name = given.get("RoleSessionName", "")
    if not _SESSION_NAME.fullmatch(name):
        raise _invalid("RoleSessionName must have 2 to 64 letters, digits, or characters of _+=,.@-")
    return name


def _lifetime(given: Mapping[str, str]) -> timedelta | None:
    text = given.get("DurationSeconds")
    if text is None:
        return None
    least, most = _SECONDS
    seconds = int(text) if _DURATION.fullmatch(text) else 0
    if not least <= seconds <= most:
        raise _invalid(f"DurationSeconds must be a number from {least} to {most}.")
    return timedelta(seconds=seconds)


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)


def _caller_identity(request: HttpRequest) -> Element:
    """Return whose session signs a request; no value leaves, so that it is not recorded."""
    try:
        actor, given = signer_of(request, service=STS)
        account = Account(actor, given.region).number
    except Invisible as error:
        raise _denied(CALLER_IDENTITY) from error
    name = _NOT_IN_ARNS.sub("-", actor.name)
    answer = Element(f"{CALLER_IDENTITY}Response", xmlns=NAMESPACE)
    _put(
        SubElement(answer, f"{CALLER_IDENTITY}Result"),
        Arn=f"arn:aws:sts::{account}:assumed-role/{name}/{actor.uuid}",
        UserId=f"{actor.uuid}:{name}",
        Account=account,
    )
    return answer


def _denied(operation: str) -> AwsError:
    return AwsError("AccessDenied", _DENIED.format(operation), status=HTTPStatus.FORBIDDEN)


def _result(entered: SignedIn, session: TokenSession, text: str, session_name: str) -> Element:
    answer = Element(f"{ASSUME_ROLE}Response", xmlns=NAMESPACE)
    result = SubElement(answer, f"{ASSUME_ROLE}Result")
    account, trust = account_number(entered.trust.environment), entered.trust
    _put(
        SubElement(result, "Credentials"),
        AccessKeyId=key_id_of(session),
        SecretAccessKey=session.key,
        SessionToken=text,
        Expiration=f"{session.expires_at:%Y-%m-%dT%H:%M:%SZ}",
    )
    _put(
        SubElement(result, "AssumedRoleUser"),
        AssumedRoleId=f"{trust.uuid}:{session_name}",
        Arn=f"arn:aws:sts::{account}:assumed-role/{trust.name}/{session_name}",
    )
    _put(
        result,
        SubjectFromWebIdentityToken="".join(filter(str.isprintable, entered.subject)),
        Provider=trust.issuer,
        Audience=trust.audience,
    )
    return answer


def _put(parent: Element, **texts: str) -> None:
    for name, text in texts.items():
        SubElement(parent, name).text = text


def _refusal_of(error: Exception) -> AwsError | None:
    """Return what a failure is answered with, None for a fault of ours."""
    if isinstance(error, SignatureRefused):
        kind, status = _UNSIGNED[error.kind]
        return AwsError(kind, str(error), status=status)
    if isinstance(error, AwsError):
        return error
    if isinstance(error, JwtRefused):
        return _refused(error)
    problem = problem_of(error)
    if problem is None:
        return None
    log_failure(error, problem)
    unavailable = ("ServiceUnavailable", HTTPStatus.SERVICE_UNAVAILABLE)
    kind, status = _BY_STATUS.get(problem.status, unavailable)
    found = AwsError(kind, problem.detail, status=status)
    if isinstance(error, KeysUnavailable):
        found = AwsError("IDPCommunicationError", _UNREACHABLE)
    found.headers.update(problem.headers)
    return found


def _refused(error: JwtRefused) -> AwsError:
    if error.reason == "jwt-expired":
        return AwsError("ExpiredTokenException", _EXPIRED)
    if error.reason == "jwt-replayed":
        return AwsError("AccessDenied", str(error), status=HTTPStatus.FORBIDDEN)
    if error.reason in _OF_A_CLAIM:
        return _denied(ASSUME_ROLE)
    return AwsError("InvalidIdentityToken", _NOT_VALID)


def _failed(request: HttpRequest, error: AwsError) -> HttpResponse:
    answer = Element("ErrorResponse", xmlns=NAMESPACE)
    kind = "Receiver" if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "Sender"
    _put(SubElement(answer, "Error"), Type=kind, Code=error.kind, Message=str(error))
    _put(answer, RequestId=request_id_of(request))
    response = _xml(answer, request, error.status)
    for header, value in error.headers.items():
        response[header] = value
    return response


def _respond(request: HttpRequest, answer: Element) -> HttpResponse:
    _put(SubElement(answer, "ResponseMetadata"), RequestId=request_id_of(request))
    return _xml(answer, request, HTTPStatus.OK)


def _xml(answer: Element, request: HttpRequest, status: int) -> HttpResponse:
    headers = {"x-amzn-RequestId": request_id_of(request)}
    return HttpResponse(
        tostring(answer, encoding="utf-8"), status=status, content_type="text/xml", headers=headers
    )
