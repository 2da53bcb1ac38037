"""The one place that maps errors to HTTP: problem documents (RFC 9457) that echo no input."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, RequestDataTooBig
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    ErrorDetail,
    MethodNotAllowed,
    NotAuthenticated,
    UnsupportedMediaType,
    ValidationError,
)
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings

from audit_app.db.conflicts import is_collision, is_disk_full
from audit_app.errors import KeyringUnavailable, TooManyRefusals
from audit_app.network.refusal_limiter import refuse
from core.errors import BadQuery
from environments_app.authentication.drf import address_of, plain_request
from environments_app.errors import (
    AdministratorsOnly,
    ApprovalNeeded,
    BadToken,
    ConfirmationNeeded,
    Conflict,
    Forbidden,
    InvalidField,
    Invisible,
    JwtRefused,
    KeysUnavailable,
    Suspended,
    TooManyRequests,
    TooManyTokens,
)
from keeper_project.http.json import ProblemRenderer
from secrets_app.errors import (
    EnvelopeError,
    InvalidInput,
    KeyRefused,
    KeyUnavailable,
    ManagedValue,
    NameTaken,
    NoSuchVersion,
    NotDeleted,
    ShareEnded,
    StaleVersion,
    TamperedSecret,
    TooManyItems,
)
from secrets_app.importing.plan import PlanChanged
from secrets_app.services.bulk_create import InvalidItems
from secrets_app.services.promotion import PromotionChanged
from sync_app.errors import BackendError, BadDestination, RotationConflict, TargetConflict, TooManyTests

logger = logging.getLogger(__name__)

NOT_FOUND: Final = "It may have been deleted, or you don't have access."


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What the caller gets for an error: a status, a title, and the remedy."""

    status: int
    title: str
    detail: str
    errors: list[dict[str, Any]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    for_administrators: bool = False

    @property
    def offers_access(self) -> bool:
        """Whether a page offers to request access: no manager can grant what only administrators may do."""
        return self.status in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND} and not self.for_administrators

    @property
    def document(self) -> dict[str, Any]:
        members: dict[str, Any] = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        return members | ({"errors": self.errors} if self.errors else {})

    @property
    def further_errors(self) -> list[dict[str, Any]]:
        """The errors that a page lists: those that `detail` does not contain already."""
        return [error for error in self.errors if error.get("reason", "") not in self.detail]


_VERIFY: Final = (
    "The stored value was modified outside Keeper. This was logged. "
    "Ask an administrator to run keeper verify-audit."
)
_KEY_AWAY: Final = (
    "Keeper can't use the environment's encryption key right now. Nothing was lost. "
    "An administrator can find the reason in the log."
)
_KEY_FOREIGN: Final = "This key isn't allowed on this installation. Ask an administrator."
_NO_RECORD: Final = "Keeper can't write to the audit log, so it isn't accepting requests. Try again later."
_NO_DATABASE: Final = "The database is not responding. Try again in a moment. Nothing was partially saved."
_COLLISION: Final = Problem(
    status=503,
    title="Another change was under way",
    detail="Another change was being saved at the same time. Try again. Nothing was partially saved.",
    headers={"Retry-After": "1"},
)
_DISK_FULL: Final = Problem(
    status=503,
    title="The disk is full",
    detail="The disk of the database is full, so Keeper can't save or record anything. "
    "Nothing was partially saved. Ask an administrator to free space on it; "
    "Keeper then continues without a restart.",
    headers={"Retry-After": "30"},
)
# The first class that an error is an instance of decides. None: the error's own sentence is used.
_TABLE: Final[tuple[tuple[type[Exception], int, str, str | None], ...]] = (
    (ShareEnded, 410, "This link has expired", None),
    (Invisible, 404, "Not found", NOT_FOUND),
    (ObjectDoesNotExist, 404, "Not found", NOT_FOUND),
    (Http404, 404, "Not found", NOT_FOUND),
    (NoSuchVersion, 404, "Not found", None),
    (Suspended, 403, "Access is suspended", None),
    (AdministratorsOnly, 403, "Administrators only", None),
    (Forbidden, 403, "Forbidden", "You don't have permission to do this."),
    (ConfirmationNeeded, 403, "Confirm your password", None),
    (PermissionDenied, 403, "Forbidden", "You don't have permission to do this."),
    (JwtRefused, 401, "Not signed in", None),
    (BadToken, 401, "Not signed in", "The token is invalid."),
    (InvalidItems, 400, "Some items are not valid", None),
    (InvalidInput, 400, "Invalid request", None),
    (InvalidField, 400, "Invalid request", None),
    (BadQuery, 400, "Invalid query", None),
    (StaleVersion, 412, "The secret has changed", None),
    (ManagedValue, 409, "The value is managed", None),
    (NameTaken, 409, "Name already in use", None),
    (PromotionChanged, 409, "The plan has changed", None),
    (PlanChanged, 409, "The plan has changed", None),
    (NotDeleted, 409, "The secret is not deleted", None),
    (Conflict, 409, "Conflict", None),
    (TooManyItems, 413, "Too many items", None),
    (RequestDataTooBig, 413, "The body is too large", "Send less than 16 MiB in one request."),
    (TooManyRefusals, 429, "Too many refused requests", "Wait before you try again."),
    (TooManyRequests, 429, "Too many requests", None),
    (TooManyTokens, 429, "Too many tokens", None),
    (TooManyTests, 429, "Too many tests at once", None),
    (TamperedSecret, 409, "The stored secret was changed outside Keeper", None),
    (EnvelopeError, 409, "The stored value can't be decrypted", _VERIFY),
    (BadDestination, 400, "Invalid request", None),
    (TargetConflict, 409, "Conflict", None),
    (RotationConflict, 409, "Conflict", None),
    (BackendError, 502, "The other system reported an error", None),
    (KeyUnavailable, 503, "The key is not available", _KEY_AWAY),
    (KeyRefused, 503, "The key is not allowed", _KEY_FOREIGN),
    (KeysUnavailable, 503, "The keys of the issuer are not available", None),
    (KeyringUnavailable, 503, "The system keys are not available", _NO_RECORD),
    (OperationalError, 503, "The database is not available", _NO_DATABASE),
    (InterfaceError, 503, "The database is not available", _NO_DATABASE),
)
# Messages of Django REST framework that repeat what was sent, by their class and by their code.
_FRAMEWORK_WORDS: Final[tuple[tuple[type[APIException], str], ...]] = (
    (MethodNotAllowed, "Method not allowed."),
    (UnsupportedMediaType, "Send the body as application/json."),
)
_OWN_WORDS: Final = {
    "invalid_choice": "Choose one of the listed values.",
    "does_not_exist": "Not found, or you don't have access.",
    "incorrect_type": "This is of the wrong type.",
    "not_a_list": "Give a list.",
}


def problem_of(error: Exception) -> Problem | None:
    """Return the problem for an error, or None for an unexpected one."""
    if isinstance(error, ValidationError):
        return Problem(
            status=400,
            title="Invalid request",
            detail="Fix the errors below.",
            errors=list(_field_errors(error.detail)),
        )
    if isinstance(error, APIException):
        return _framework_problem(error)
    if isinstance(error, OperationalError) and is_collision(error):
        return _COLLISION
    if isinstance(error, OperationalError) and is_disk_full(error):
        return _DISK_FULL
    for kind, status, title, sentence in _TABLE:
        if isinstance(error, kind):
            return Problem(
                status=status,
                title=title,
                detail=str(error) if sentence is None else sentence,
                errors=_named_fields(error),
                headers=_headers(error, status),
                for_administrators=isinstance(error, AdministratorsOnly),
            )
    return None


def problem_response(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Answer an API request that failed (REST_FRAMEWORK["EXCEPTION_HANDLER"])."""
    if isinstance(error, ApprovalNeeded):
        return _accepted(error)
    if isinstance(error, NotAuthenticated):
        error = _counted(error, context["request"])
    problem = problem_of(error)
    if problem is None:
        return None
    log_failure(error, problem)
    return _response(problem, context.get("request"))


def _counted(error: NotAuthenticated, request: Request) -> Exception:
    """Count a request without credentials as a refusal, and return what it is answered with."""
    try:
        refuse(kind="no-credentials", address=address_of(plain_request(request)))
    except TooManyRefusals as limited:
        return limited
    return error


def _accepted(error: ApprovalNeeded) -> Response:
    """Answer a pending approval: the address of the request, and that nothing was done yet."""
    place = reverse("api-approval", args=[error.approval])
    body = {"detail": str(error), "approval": error.approval, "url": place}
    return Response(body, status=HTTPStatus.ACCEPTED, headers={"Location": place})


def plain_problem_response(problem: Problem) -> HttpResponse:
    """Answer a request under /api that never reached a view of the API."""
    return HttpResponse(
        ProblemRenderer().render(problem.document),
        status=problem.status,
        content_type=ProblemRenderer.media_type,
        headers=dict(problem.headers),
    )


def log_failure(error: Exception, problem: Problem) -> None:
    """Log what an operator must examine; our own messages hold no value."""
    if isinstance(error, DatabaseError):
        # A driver's message may quote the data; its number identifies the fault.
        number = error.args[0] if error.args and isinstance(error.args[0], int) else ""
        logger.error("request failed: %s %s", type(error).__name__, number, extra={"cause": error})
    elif problem.status >= 500 or isinstance(error, EnvelopeError | TamperedSecret):
        logger.error("request failed: %s: %s", type(error).__name__, error)


def _response(problem: Problem, request: HttpRequest | None) -> Response:
    response = Response(problem.document, status=problem.status, headers=dict(problem.headers))
    response.content_type = ProblemRenderer.media_type
    if request is not None:
        # A problem is always JSON, whatever the client accepts.
        request.accepted_renderer = ProblemRenderer()  # type: ignore[attr-defined]  # DRF reads it there
        request.accepted_media_type = ProblemRenderer.media_type  # type: ignore[attr-defined]  # DRF reads it there
    return response


def _framework_problem(error: APIException) -> Problem:
    headers = {}
    if isinstance(error, NotAuthenticated | AuthenticationFailed):
        return Problem(
            status=401,
            title="Not signed in",
            detail="Send a service token as `Authorization: Bearer kpr_…`, or sign in.",
            headers={"WWW-Authenticate": 'Bearer realm="keeper"'},
        )
    own = next((words for kind, words in _FRAMEWORK_WORDS if isinstance(error, kind)), None)
    wait = getattr(error, "wait", None)
    if wait is not None:
        headers["Retry-After"] = str(int(wait))
    title = str(error.default_code).replace("_", " ").capitalize()
    return Problem(status=error.status_code, title=title, detail=own or str(error.detail), headers=headers)


def _headers(error: Exception, status: int) -> dict[str, str]:
    if isinstance(error, TooManyRefusals | TooManyRequests | TooManyTokens | KeysUnavailable):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, TooManyTests):
        return {"Retry-After": "5"}
    if status == 503 and not getattr(error, "permanent", False):
        return {"Retry-After": "5"}
    if status == 401:
        return {"WWW-Authenticate": 'Bearer realm="keeper"'}
    return {}


def _named_fields(error: Exception) -> list[dict[str, Any]]:
    if isinstance(error, InvalidItems):
        return [{"item": fault.index, "field": fault.field, "reason": fault.reason} for fault in error.faults]
    if isinstance(error, InvalidInput | InvalidField):
        return [{"field": error.field, "reason": error.reason}]
    if isinstance(error, BadDestination):
        return [{"field": error.field, "reason": str(error)}]
    if isinstance(error, BadQuery):
        return [{"field": error.parameter, "reason": error.reason}]
    return []


def _field_errors(detail: Any, path: str = "") -> Iterator[dict[str, Any]]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            # Errors of the whole object are reported for the whole.
            inside = "" if name == api_settings.NON_FIELD_ERRORS_KEY else str(name)
            yield from _field_errors(inner, ".".join(filter(None, (path, inside))))
    elif isinstance(detail, list):
        for position, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list)
            yield from _field_errors(inner, f"{path}[{position}]" if nested else path)
    else:
        yield {"field": path or "body", "reason": _reason(detail)}


def _reason(detail: Any) -> str:
    if isinstance(detail, ErrorDetail) and detail.code in _OWN_WORDS:
        return _OWN_WORDS[detail.code]
    return str(detail)
