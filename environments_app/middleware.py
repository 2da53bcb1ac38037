"""Gives each request its principal, looked up only if somebody asks."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from environments_app.authentication import session_principal

GetResponse = Callable[[HttpRequest], HttpResponse]


class PrincipalMiddleware:
    """Sets `request.principal`, a Principal that is always there and perhaps has no rights.

    For the API, a service token's principal takes its place once DRF has authenticated.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        principal = SimpleLazyObject(lambda: session_principal(request))
        request.principal = principal  # type: ignore[attr-defined]  # ours, on Django's request
        return self.get_response(request)
