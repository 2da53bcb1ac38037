"""What the scripts of a page ask about its session, and the page on which a second tab ends."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from environments_app.models import User
from environments_app.sessions.store import extend, remaining, watch


@never_cache
@require_http_methods(["GET", "POST"])
def session_state(request: HttpRequest) -> HttpResponse:
    """Return whose session this browser has, when it ends and a fresh CSRF token; POST extends it.

    GET does not count as use of the session: a page that is left open must not keep it from ending.
    """
    if request.method == "GET":
        watch(request.session)
    user = request.user if isinstance(request.user, User) else None
    if request.method == "POST" and user is not None:
        extend(request.session)
    left = remaining(request.session) if user else None
    return JsonResponse(
        {
            "person": str(user.uuid) if user else "",
            "name": user.username if user else "",
            "ends_in": left.seconds if left else 0,
            "extendable": bool(left and left.extendable),
            "csrf": get_token(request),
        }
    )


@login_required
@require_GET
def signed_in(request: HttpRequest) -> HttpResponse:
    """Report that the sign-in in a second tab is done: the first tab continues with it."""
    return render(request, "environments_app/signed_in.html")
