"""Finds the page that a form was sent from, so that a sign-in leads back to it."""

import inspect
from collections.abc import Callable, Collection
from typing import Any, Final
from urllib.parse import urlsplit

from django.http import HttpRequest
from django.urls import Resolver404, resolve
from django.utils.http import url_has_allowed_host_and_scheme

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
