"""Middleware of the project: headers of every answer, probes, and errors of pages become pages."""

from functools import cached_property
from http import HTTPStatus
from io import BytesIO
from typing import Final

from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from audit_app.middleware import GetResponse, Middleware
from core.db.concurrency import WORK, Attempts
from core.http.problems import Problem, log_failure, plain_problem_response, problem_of
from environments_app.authentication.sign_in import provider_subject
from environments_app.errors import ApprovalNeeded, SessionEnded
from environments_app.middleware import is_script, origin_page, script_signed_out
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

# Where an identity provider sends people, also those who have to set something up first.
_SIGN_ON: Final = frozenset({"/saml/", "/oidc/"})
PROBES: Final[dict[str, GetResponse]] = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}


class LostTransactionMiddleware(Middleware):
    """Answers a request again that lost its transaction to another writer, or its host of the database.

    Where several nodes of a cluster take writes, the later of two is refused only as it commits. A request is
    begun anew only while nothing of it can be stored (`Attempts`), and passes all middlewares behind this.
    """

    def __call__(self, request: HttpRequest) -> HttpResponse:
        attempts, first = Attempts(), request
        response = self.get_response(request)
        while response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR and WORK.lost is not None:
            if not _rewind(request) or not attempts.may_repeat(WORK.lost):
                break
            request = WSGIRequest(request.META)
            response = self.get_response(request)
        # The metrics count it under its route.
        first.resolver_match = request.resolver_match
        return response


def _rewind(request: HttpRequest) -> bool:
    """Return whether the body can be read again: a server's thread has read it, or there is none."""
    if request.META.get("CONTENT_LENGTH", "") in {"", "0"}:
        return True
    body = request.META["wsgi.input"]
    return isinstance(body, BytesIO) and body.seek(0) == 0


class HeadersMiddleware(CSPMiddleware):
    """Forbids caches to keep an answer that is not public, and sends the policy of the settings, built once.

    Static files are served before it.
    """

    @cached_property
    def _policy(self) -> str:
        return build_policy()

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Add the headers; an answer or a nonce that asks for its own policy gets it."""
        # kpr's own files are the same for everybody.
        if not response.headers.get("Cache-Control", "").startswith("public"):
            response.headers["Cache-Control"] = "no-store, private"
        if hasattr(request, "_csp_nonce") or any(name.startswith("_csp") for name in vars(response)):
            return super().process_response(request, response)
        response.headers.setdefault(HEADER, self._policy)
        return response


class AccountSetupMiddleware(Middleware):
    """Lets a person whose account is not ready do nothing but what it needs first.

    That is an own password where another person set it: until then the principal has no rights either
    (`user_principal`). For an administrator it is a second factor, where that is required and the account is
    a local one: who came by single sign-on was asked by its provider.
    """

    def __call__(self, request: HttpRequest) -> HttpResponse:
        path = request.path_info
        has_session = settings.SESSION_COOKIE_NAME in request.COOKIES and not path.startswith("/static/")
        needed = _needed_first(request) if has_session else None
        if needed is None:
            return self.get_response(request)
        problem, page = needed
        return plain_problem_response(problem) if path.startswith("/api/") else redirect(page)


def _needed_first(request: HttpRequest) -> tuple[Problem, str] | None:
    """Return what keeps a person from all else, and the page for it."""
    path = request.path_info
    needs_password = path not in _CHOOSING
    needs_factor = settings.KEEPER_REQUIRE_ADMIN_MFA and path not in _SETTING_UP and path[:6] not in _SIGN_ON
    # To ask for the user is a use of the session, which `/session` must not be.
    user = request.user if needs_password or needs_factor else None
    if not isinstance(user, User):
        return None
    if needs_password and user.temporary_since is not None:
        return _TEMPORARY, "password-change"
    if needs_factor and user.is_staff and user.second_factor is None and provider_subject(request) is None:
        return _SECOND_FACTOR, "second-factor"
    return None


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


class KeptSessionMiddleware(SessionMiddleware):
    """Stores what a request left in its session; one that was ended meanwhile leads to the sign-in.

    What the request did may be stored: nothing says that it was not.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Answer as Django does, which has a page of one line for a session that is gone."""
        try:
            return super().process_response(request, response)
        except SessionInterrupted:
            # Empty, so that the browser forgets it.
            request.session.flush()
            return super().process_response(request, _signed_out(request))


def _signed_out(request: HttpRequest) -> HttpResponse:
    problem = problem_of(SessionEnded())
    if problem is not None and request.path.startswith("/api/"):
        return plain_problem_response(problem)
    if is_script(request):
        return script_signed_out()
    page = request.get_full_path() if request.method == "GET" else origin_page(request)
    return redirect_to_login(page, reverse("sign-in"))


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
        if isinstance(error, SessionEnded):
            # As for a request that began after its session ended: ExpiredSessionMiddleware says so.
            logout(request)
            return redirect_to_login(request.get_full_path(), reverse("sign-in"))
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
