"""Middleware of people: the principal and time zone of each request, and the answer to an ended session.

A form's page is found again, so that a sign-in leads back to it.
"""

import inspect
import re
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import Resolver404, resolve, reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

from audit_app.middleware import Middleware
from core.clock import ZONE
from environments_app.authentication.drf import session_principal
from environments_app.tokens.decoys import note_request


class DecoyMiddleware(Middleware):
    """Notes the decoy tokens that a refused request carries; the answer is the same without any."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            note_request(request)
        return response


# The variable in which Django's `require_http_methods` keeps its argument.
_METHODS: Final = "request_method_list"


def origin_page(request: HttpRequest) -> str:
    """Return the path and query of the page that sent a request, from its Referer.

    A page that was itself the answer to a form has an address that only takes POST. For such an address, and
    for a Referer of another host or none, this is the nearest address above it that opens.
    """
    referer = request.headers.get("Referer", "")
    own = url_has_allowed_host_and_scheme(
        referer, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    parts = urlsplit(referer if own else request.path)
    if opens_by_get(parts.path):
        return f"{parts.path}?{parts.query}" if parts.query else parts.path
    path = parts.path
    while path and not opens_by_get(path):
        path = path.rpartition("/")[0]
    return path or "/"


def opens_by_get(path: str) -> bool:
    """Return whether a path leads to a view that answers GET."""
    try:
        view = resolve(path).func
    except Resolver404:
        return False
    methods = _accepted_methods(view)
    return methods is None or "GET" in methods


def _accepted_methods(view: Callable[..., Any] | None) -> Collection[str] | None:
    """Return what `require_http_methods` was given for a view, below other decorators; None without it."""
    while view is not None:
        names = inspect.getclosurevars(view).nonlocals if inspect.isfunction(view) else {}
        if _METHODS in names:
            return list(names[_METHODS])
        view = getattr(view, "__wrapped__", None)
    return None


EXPIRED: Final = "Your session has expired. Sign in again."
# What programs and operators read; and to ask how long a session lasts is no use of it.
_UTC: Final = re.compile("/api/|/admin/|/session$")
_SAFE: Final = frozenset({"GET", "HEAD"})


class SignInMiddleware(LoginRequiredMiddleware):
    """Leads to the sign-in page, unless a view is `login_not_required`: then the session is not even read."""

    def process_view(self, request: HttpRequest, view_func: Callable[..., Any], *arguments: Any) -> Any:
        if not getattr(view_func, "login_required", True):
            return None
        return super().process_view(request, view_func, *arguments)


class PersonMiddleware(Middleware):
    """Sets `request.principal`, which perhaps has no rights, and the time zone that the person chose.

    For the API, a service token's principal takes its place once DRF has authenticated. API and admin speak
    UTC.
    """

    def __call__(self, request: HttpRequest) -> HttpResponse:
        principal = SimpleLazyObject(lambda: session_principal(request))
        request.principal = principal  # type: ignore[attr-defined]  # ours, on Django's request
        has_session = settings.SESSION_COOKIE_NAME in request.COOKIES and not _UTC.match(request.path)
        with timezone.override(_zone_of(request) if has_session else None):
            return self.get_response(request)


def _zone_of(request: HttpRequest) -> ZoneInfo | None:
    try:
        return ZoneInfo(request.session[ZONE]) if request.session.get(ZONE) else None
    except (ZoneInfoNotFoundError, ValueError):
        # The host's data knows other zones than it did.
        return None


class ExpiredSessionMiddleware(Middleware):
    """Replaces the redirect to the sign-in page where following it would lose something.

    A script gets 401: it would otherwise read the sign-in page as its answer. A form leads to the sign-in
    page with `expired`, and from there back to the page that it was on: its own address often takes no GET.
    """

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code != HTTPStatus.FOUND:
            return response
        doors = {reverse("sign-in"), reverse("admin:login")}
        if request.path in doors or not _leads_to(doors, response):
            return response
        if is_script(request):
            return script_signed_out()
        if request.method in _SAFE:
            return response
        query = urlencode({REDIRECT_FIELD_NAME: origin_page(request), "expired": "1"})
        return HttpResponseRedirect(f"{reverse('sign-in')}?{query}")


def is_script(request: HttpRequest) -> bool:
    """Return whether a script of a page sent a request: it would follow a redirect, and lose the page."""
    return "HX-Request" in request.headers or request.headers.get("X-Requested-With") == "fetch"


def script_signed_out() -> HttpResponse:
    """Return what a script of a page shows once its session is over."""
    return HttpResponse(EXPIRED, status=HTTPStatus.UNAUTHORIZED, content_type="text/plain; charset=utf-8")


def _leads_to(doors: set[str], response: HttpResponse) -> bool:
    """Whether a redirect is that of SignInMiddleware or the admin to the sign-in page."""
    place = urlsplit(response.headers["Location"])
    return place.path in doors and REDIRECT_FIELD_NAME in parse_qs(place.query)
