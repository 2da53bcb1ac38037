"""Middleware of the project: headers of every answer, probes, and errors of pages become pages."""

from functools import cached_property
from http import HTTPStatus
from typing import Final

from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from audit_app.middleware import GetResponse, Middleware
from core.http.problems import Problem, log_failure, plain_problem_response, problem_of
from environments_app.authentication.sign_in import saml_subject
from environments_app.errors import ApprovalNeeded
from environments_app.models import User
from keeper_project.http.errors import answer, method_not_allowed
from keeper_project.observability.metrics import metrics
from operations_app.health.service import healthz, readyz

_SETTING_UP: Final = frozenset(
    {
        "/profile/second-factor",
        "/profile/second-factor/start",
        "/profile/second-factor/enrol",
        "/confirm",
        "/sign-in",
        "/sign-out",
        "/session",
    }
)
_SECOND_FACTOR: Final = Problem(
    status=403,
    title="Two-factor authentication required",
    detail="Administrators and auditors must use two-factor authentication. "
    "Set it up at /profile/second-factor.",
)

_TEMPORARY: Final = Problem(
    status=403,
    title="Temporary password",
    detail="Another person set your password. Choose your own at /profile/password first.",
)
_CHOOSING: Final = frozenset({"/profile/password", "/sign-in", "/sign-out", "/session"})

PROBES: Final[dict[str, GetResponse]] = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}


class NoStoreMiddleware(Middleware):
    """Forbids every cache to keep an answer; static files are served before it."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers["Cache-Control"] = "no-store, private"
        return response


class ContentSecurityPolicyMiddleware(CSPMiddleware):
    """Sends the policy of the settings, which is built once instead of for each answer."""

    @cached_property
    def _policy(self) -> str:
        return build_policy()

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Add the header; an answer or a nonce that asks for its own policy gets it."""
        if hasattr(request, "_csp_nonce") or any(name.startswith("_csp") for name in vars(response)):
            return super().process_response(request, response)
        response.headers.setdefault(HEADER, self._policy)
        return response


class TemporaryPasswordMiddleware(Middleware):
    """Lets a person whose password another person set do nothing but choose their own.

    The principal of such an account has no rights either (`user_principal`).
    """

    def __call__(self, request: HttpRequest) -> HttpResponse:
        path = request.path_info
        asks = settings.SESSION_COOKIE_NAME in request.COOKIES and path not in _CHOOSING
        if not asks or path.startswith("/static/") or not self._is_temporary(request):
            return self.get_response(request)
        if path.startswith("/api/"):
            return plain_problem_response(_TEMPORARY)
        return redirect("password-change")

    def _is_temporary(self, request: HttpRequest) -> bool:
        return isinstance(request.user, User) and request.user.temporary_since is not None


class SecondFactorMiddleware(Middleware):
    """Lets an administrator without a second factor do nothing but set it up, where that is required.

    It is about local accounts: who came by single sign-on was asked by its provider.
    """

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not settings.KEEPER_REQUIRE_ADMIN_MFA or not self._lacks_it(request):
            return self.get_response(request)
        if request.path_info.startswith("/api/"):
            return plain_problem_response(_SECOND_FACTOR)
        return redirect("second-factor")

    def _lacks_it(self, request: HttpRequest) -> bool:
        if request.path_info in _SETTING_UP or request.path_info.startswith(("/static/", "/saml/")):
            return False
        user = request.user
        if not isinstance(user, User) or not user.is_staff or user.second_factor is not None:
            return False
        return saml_subject(request) is None


class ProbesMiddleware(Middleware):
    """Answers `/healthz`, `/readyz` and `/metrics` under any host name, because probes use addresses.

    It comes first, because later middleware checks the name. The answers do not depend on it.
    """

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = PROBES.get(request.path)
        if probe is None:
            return self.get_response(request)
        response = probe(request)
        response.headers["Cache-Control"] = "no-store, private"
        # CommonMiddleware, which sets it elsewhere, is not reached; a probe keeps its connection.
        response.headers["Content-Length"] = str(len(response.content))
        return response


class ProblemPagesMiddleware(Middleware):
    """Shows an error of a page's view as a page with the remedy."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer as the view does; a method that it does not take gets a page as well."""
        response = self.get_response(request)
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED and not response.content:
            return method_not_allowed(request, response.headers["Allow"])
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Map what the view raised, by the same table as the API's."""
        if isinstance(error, ApprovalNeeded):
            return _to_request(request, error)
        problem = problem_of(error)
        if problem is None:
            return None
        log_failure(error, problem)
        return answer(request, problem)


def _to_request(request: HttpRequest, error: ApprovalNeeded) -> HttpResponse:
    """Redirect to the pending approval, whose page states that nothing was changed."""
    place = reverse("approval-detail", args=[error.approval])
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": place})
    return redirect(place)
