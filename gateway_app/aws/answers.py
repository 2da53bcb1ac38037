"""The forms of the protocol: JSON 1.1 bodies, and errors by their type."""

from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from core.canonical_json import Json
from core.http.json import JsonRenderer
from core.http.problems import log_failure, problem_of
from environments_app.authentication.drf import request_id_of
from environments_app.errors import Forbidden, Invisible, Suspended
from secrets_app.errors import EnvelopeError, TamperedSecret

MEDIA_TYPE: Final = "application/x-amz-json-1.1"
# What the events of reads hold besides the version.
PROTOCOL: Final[dict[str, Json]] = {"protocol": "aws"}
NO_SECRET: Final = "Secrets Manager can't find the specified secret."  # noqa: S105 - a sentence
DELETED: Final = "You can't perform this operation on the secret because it was marked for deletion."
NOT_DECRYPTED: Final = "Secrets Manager can't decrypt the protected secret text."
_UNAVAILABLE: Final = (
    "ServiceUnavailableException",
    "The service is unavailable. Try again in a moment.",
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_OTHER: Final = "InvalidRequestException"
# The types of errors by the status of their problem: with a message of their own, or the problem's.
_TYPES: Final = {
    400: ("InvalidParameterException", "", HTTPStatus.BAD_REQUEST),
    404: ("ResourceNotFoundException", "", HTTPStatus.BAD_REQUEST),
    413: ("RequestEntityTooLarge", "The request is too large.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    429: ("ThrottlingException", "Rate exceeded", HTTPStatus.TOO_MANY_REQUESTS),
}


class AwsError(Exception):
    """A request that is answered with the type of an error of the protocol."""

    def __init__(self, kind: str, message: str, *, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.headers: dict[str, str] = {}


class SignatureRefused(AwsError):
    """A request that does not prove who calls; `reason` is a fixed word for the audit log."""

    def __init__(self, kind: str, message: str, *, reason: str) -> None:
        super().__init__(kind, message)
        self.reason = reason


def missing(message: str = NO_SECRET) -> AwsError:
    """Return what a name or a version that does not exist is answered with."""
    return AwsError("ResourceNotFoundException", message)


def invalid(message: str) -> AwsError:
    """Return what a member that is not of its form is answered with."""
    return AwsError("InvalidParameterException", message)


def error_of(error: Exception, operation: str) -> AwsError | None:
    """Return what the failure of an operation is answered with, None for a fault of ours."""
    if isinstance(error, AwsError):
        return error
    if isinstance(error, Suspended):
        return AwsError("AccessDeniedException", str(error))
    if isinstance(error, Invisible | Forbidden | PermissionDenied):
        act = f"secretsmanager:{operation}"
        return AwsError(
            "AccessDeniedException",
            f"The token is not authorized to perform: {act} because no policy allows the action",
        )
    return _of_a_problem(error)


def respond(request: HttpRequest, body: Any, *, status: int = HTTPStatus.OK) -> HttpResponse:
    """Return a response with a JSON body."""
    headers = {"x-amzn-RequestId": request_id_of(request)}
    return HttpResponse(JsonRenderer().render(body), status=status, content_type=MEDIA_TYPE, headers=headers)


def failed(request: HttpRequest, error: AwsError) -> HttpResponse:
    """Return the response to a request that failed."""
    # Those of the service have a capital, those of its front have none; SDKs take both.
    name = "message" if isinstance(error, SignatureRefused) else "Message"
    answer = respond(request, {"__type": error.kind, name: str(error)}, status=error.status)
    for header, value in error.headers.items():
        answer[header] = value
    return answer


def seconds(at: datetime) -> float:
    """Return a time as the protocol writes it."""
    return round(at.timestamp(), 3)


def _of_a_problem(error: Exception) -> AwsError | None:
    problem = problem_of(error)
    if problem is None:
        return None
    log_failure(error, problem)
    if isinstance(error, EnvelopeError | TamperedSecret):
        return AwsError("DecryptionFailure", NOT_DECRYPTED)
    kind, message, status = _TYPES.get(problem.status, (_OTHER, "", HTTPStatus.BAD_REQUEST))
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        kind, message, status = _UNAVAILABLE
    found = AwsError(kind, message or problem.detail, status=status)
    found.headers.update(problem.headers)
    return found
