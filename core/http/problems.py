"""Problem documents (RFC 9457), which echo no input: what an error class states, and errors of others."""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, RequestDataTooBig
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    ErrorDetail,
    MethodNotAllowed,
    NotAuthenticated,
    UnsupportedMediaType,
    ValidationError,
)
from rest_framework.settings import api_settings

from core.db.concurrency import WORK, is_away, is_collision, is_disk_full
from core.errors import FORBIDDEN, NOT_FOUND, KeeperError, Kind
from core.http.json import ProblemRenderer

logger = logging.getLogger(__name__)
_NO_WORD: Final = re.compile(r"[^a-z0-9]+")


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
    def type(self) -> str:
        """The URI by which programs tell problems apart: docs/problems.md lists them, and they stay."""
        return f"urn:keeper:problem:{_NO_WORD.sub('-', self.title.lower().replace(chr(39), '')).strip('-')}"

    @property
    def document(self) -> dict[str, Any]:
        members: dict[str, Any] = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        return members | ({"errors": self.errors} if self.errors else {})

    @property
    def further_errors(self) -> list[dict[str, Any]]:
        """The errors that a page lists: those that `detail` does not contain already."""
        return [error for error in self.errors if error.get("reason", "") not in self.detail]


_COLLISION: Final = Kind(
    503,
    "Another change was under way",
    "Another change was being saved at the same time. Try again. Nothing was partially saved.",
    retry_after=1,
)
_DISK_FULL: Final = Kind(
    503,
    "The disk is full",
    "The disk of the database is full, so Keeper can't save or record anything. "
    "Nothing was partially saved. Ask an administrator to free space on it; "
    "Keeper then continues without a restart.",
    retry_after=30,
)
_NO_DATABASE: Final = Kind(
    503,
    "The database is not available",
    "The database is not responding. Try again in a moment. Nothing was partially saved.",
    retry_after=5,
)
# The errors of others; Keeper's own state their kind.
_FOREIGN: Final[tuple[tuple[type[Exception], Kind], ...]] = (
    (ObjectDoesNotExist, Kind(404, "Not found", NOT_FOUND)),
    (Http404, Kind(404, "Not found", NOT_FOUND)),
    (PermissionDenied, Kind(403, "Forbidden", FORBIDDEN)),
    (RequestDataTooBig, Kind(413, "The body is too large", "Send less than 16 MiB in one request.")),
    (OperationalError, _NO_DATABASE),
    (InterfaceError, _NO_DATABASE),
)
_BEARER: Final = {"WWW-Authenticate": 'Bearer realm="keeper"'}
_ANONYMOUS: Final = "Send a service token as `Authorization: Bearer kpr_…`, or sign in."
_INVALID: Final = "This token isn't valid: it is mistyped, expired or revoked."
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
    kind = error.problem if isinstance(error, KeeperError) else _foreign_kind(error)
    if kind is None:
        return None
    return Problem(
        status=kind.status,
        title=kind.title,
        detail=str(error) if kind.sentence is None else kind.sentence,
        errors=error.faults() if isinstance(error, KeeperError) else [],
        headers=_headers(error, kind),
        for_administrators=kind.for_administrators,
    )


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
    if isinstance(error, OperationalError) and is_collision(error):
        # Usual where several nodes of a cluster take writes, and mostly repeated with success.
        logger.info("another writer was first: %s", error.args[0])
    elif isinstance(error, DatabaseError):
        # A driver's message may quote the data; its number identifies the fault.
        number = error.args[0] if error.args and isinstance(error.args[0], int) else ""
        logger.error("request failed: %s %s", type(error).__name__, number, extra={"cause": error})
    elif problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR or _is_logged(error):
        logger.error("request failed: %s: %s", type(error).__name__, error)


def _framework_problem(error: APIException) -> Problem:
    headers = {}
    if isinstance(error, NotAuthenticated | AuthenticationFailed):
        # One sentence for whatever a token lacks: which it is says something of it.
        detail = _ANONYMOUS if isinstance(error, NotAuthenticated) else _INVALID
        return Problem(status=401, title="Not signed in", detail=detail, headers=_BEARER)
    own = next((words for kind, words in _FRAMEWORK_WORDS if isinstance(error, kind)), None)
    wait = getattr(error, "wait", None)
    if wait is not None:
        headers["Retry-After"] = str(int(wait))
    title = str(error.default_code).replace("_", " ").capitalize()
    return Problem(status=error.status_code, title=title, detail=own or str(error.detail), headers=headers)


def _foreign_kind(error: Exception) -> Kind | None:
    if is_away(error):
        WORK.lost = error
    if isinstance(error, OperationalError) and is_collision(error):
        WORK.lost = error
        return _COLLISION
    if isinstance(error, OperationalError) and is_disk_full(error):
        return _DISK_FULL
    return next((kind for each, kind in _FOREIGN if isinstance(error, each)), None)


def _headers(error: Exception, kind: Kind) -> Mapping[str, str]:
    wait = error.wait_seconds() if isinstance(error, KeeperError) else kind.retry_after
    if wait is not None:
        return {"Retry-After": str(wait)}
    return _BEARER if kind.status == HTTPStatus.UNAUTHORIZED else {}


def _is_logged(error: Exception) -> bool:
    return isinstance(error, KeeperError) and error.problem is not None and error.problem.logged


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
