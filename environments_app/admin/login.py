"""Replacements for the sign-in, sign-out and password views of Django's admin."""

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache

from environments_app.models import User


@never_cache
def enter(request: HttpRequest) -> HttpResponse:
    """Lead to the sign-in, which limits and records attempts; nothing that is posted here is read."""
    if isinstance(request.user, User):
        if not request.user.is_staff:
            raise PermissionDenied
        return redirect("admin:index")
    target = request.GET.get(REDIRECT_FIELD_NAME) or reverse("admin:index")
    return redirect_to_login(target)


def absent(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Answer as if there were no such page: a password is replaced by a use case, in an account's form."""
    raise Http404
