"""Answers to requests that failed: problem documents under /api, else pages."""

import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.errors import TooManyRefusals
from audit_app.recording.refusals import refuse
from core.errors import NOT_FOUND
from core.http.json import ProblemRenderer
from core.http.problems import Problem, log_failure, plain_problem_response, problem_of
from environments_app.authentication.drf import address_of, plain_request
from environments_app.errors import ApprovalNeeded

# What is missing or not allowed; anything else may be wrong with the frame as well.
_FRAMED: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_BAD_REQUEST = Problem(status=400, title="Invalid request", detail="The request could not be understood.")
_FORBIDDEN = Problem(
    status=403,
    title="Forbidden",
    detail="You don't have permission to do this. If you were signed out, sign in and try again.",
)
_MISSING = Problem(status=404, title="Not found", detail=NOT_FOUND)
_FAULT = Problem(
    status=500,
    title="Something went wrong",
    detail="The error was logged with the request ID. Nothing was partially saved.",
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django itself refused (handler400)."""
    return answer(request, problem_of(exception) or _BAD_REQUEST)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer a request that is not allowed (handler403)."""
    return answer(request, _FORBIDDEN)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form without its token (CSRF_FAILURE_VIEW)."""
    return answer(request, _FORBIDDEN)


def missing(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an address that leads nowhere (handler404)."""
    return answer(request, _MISSING)


def method_not_allowed(request: HttpRequest, allowed: str) -> HttpResponse:
    """Answer a method that the address does not take; `allowed` lists those that it takes."""
    problem = Problem(
        status=405,
        title="This address opens no page" if request.method == "GET" else "This address accepts no form",
        detail="Opening it changes nothing. What you did before is kept: go back to the previous page.",
        headers={"Allow": allowed},
    )
    return answer(request, problem)


def fault(request: HttpRequest) -> HttpResponse:
    """Answer after an error that no view could answer (handler500), such as one of a middleware."""
    error = sys.exc_info()[1]
    problem = problem_of(error) if isinstance(error, Exception) else None
    return answer(request, problem or _FAULT)


def answer(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Render a problem: as a document under /api, else as a page."""
    if request.path.startswith(("/api/", "/vault/", "/aws/")):
        return plain_problem_response(problem)
    try:
        context = {"problem": problem, "layout": _layout(request, problem)}
        response = render(request, "problem.html", context, status=problem.status)
    except DatabaseError:
        # The frame of a page asks the database, which may be just what is wrong.
        text = f"{problem.title}\n\n{problem.detail}\n"
        response = HttpResponse(text, status=problem.status, content_type="text/plain; charset=utf-8")
    for name, text in problem.headers.items():
        response.headers[name] = text
    return response


def _layout(request: HttpRequest, problem: Problem) -> str:
    """Return the layout of a problem's page: a person who is signed in keeps the frame."""
    user = getattr(request, "user", None)
    framed = problem.status in _FRAMED and user is not None and user.is_authenticated
    return "base.html" if framed else "plain.html"


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


def _response(problem: Problem, request: HttpRequest | None) -> Response:
    response = Response(problem.document, status=problem.status, headers=dict(problem.headers))
    response.content_type = ProblemRenderer.media_type
    if request is not None:
        # A problem is always JSON, whatever the client accepts.
        request.accepted_renderer = ProblemRenderer()  # type: ignore[attr-defined]  # DRF reads it there
        request.accepted_media_type = ProblemRenderer.media_type  # type: ignore[attr-defined]  # DRF reads it there
    return response
