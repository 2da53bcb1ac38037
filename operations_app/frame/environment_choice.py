"""The environment that a user works in: named by the address of a page, else the last one they chose."""

from typing import Final

from django.http import HttpRequest
from django.urls import reverse

from environments_app.views.base import ENVIRONMENT_PARAMETER as PARAMETER

_ONE_RESOURCE: Final = "object"
_LONGEST: Final = 63
# The lists that an environment narrows; their address names it, so that a link to it can be sent.
NARROWED: Final = frozenset({"secret-list", "sync", "rotation", "activity", "approval-list", "token-list"})
# Forms that begin with an environment.
_BEGUN_IN: Final = frozenset({"secret-new", "secret-import", "secret-export"})
# Pages about one environment: the same page of another one.
_ABOUT_ONE: Final = frozenset(
    {
        "environment-clone",
        "environment-delete",
        "environment-detail",
        "environment-access",
        "notifications",
        "consents",
    }
)
# Pages of the whole installation, which no environment narrows.
_OF_ALL: Final = frozenset(
    {
        "dashboard",
        "activity-charts",
        "secret-matrix",
        "secret-row",
        "people",
        "person",
        "person-add",
        "offboarding",
        "departures",
        "departure",
        "backups",
        "health",
        "integrity",
    }
)
_SECTIONS: Final = {
    "sync": "sync",
    "rotation": "rotation",
    "activity": "activity",
    "approvals": "approval-list",
    "tokens": "token-list",
}
# What of an address belongs to the environment that is left.
_DROPPED: Final = (PARAMETER, "page", "cursor")


def remember(request: HttpRequest) -> None:
    """Keep the environment that the address of a page names, or that it names none, in the session.

    The events of one secret name its environment too; who opens them chooses none.
    """
    if request.method != "GET" or PARAMETER not in request.GET or not hasattr(request, "session"):
        return
    if request.GET.get(_ONE_RESOURCE):
        return
    name = request.GET[PARAMETER][:_LONGEST]
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated and request.session.get(PARAMETER, "") != name:
        request.session[PARAMETER] = name


def is_narrowed(request: HttpRequest) -> bool:
    """Return whether the page is a list that an environment narrows."""
    match = request.resolver_match
    return match is not None and match.url_name in NARROWED


def is_of_all(request: HttpRequest) -> bool:
    """Return whether the page is of the whole installation, so that no environment narrows it."""
    match = request.resolver_match
    return match is not None and match.url_name in _OF_ALL


def narrowed_url(view: str, environment: str) -> str:
    """Return the address of a page, narrowed to an environment or begun in it where the page can be."""
    url = reverse(view)
    return f"{url}?{PARAMETER}={environment}" if environment and view in NARROWED | _BEGUN_IN else url


def switch_url(request: HttpRequest, environment: str) -> str:
    """Return where the switcher leads: the same page in another environment, or the list of its section.

    An empty name stands for all environments.
    """
    match = request.resolver_match
    if match is None or request.method != "GET":
        return _list_url(request, environment)
    if match.url_name in _ABOUT_ONE and environment:
        return reverse(match.url_name, kwargs={**match.kwargs, "name": environment})
    if match.kwargs or match.args or is_of_all(request):
        return _list_url(request, environment)
    query = request.GET.copy()
    for name in _DROPPED:
        query.pop(name, None)
    query[PARAMETER] = environment
    return f"{request.path}?{query.urlencode()}"


def _list_url(request: HttpRequest, environment: str) -> str:
    section = request.path.strip("/").partition("/")[0]
    return f"{reverse(_SECTIONS.get(section, 'secret-list'))}?{PARAMETER}={environment}"
