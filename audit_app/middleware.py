"""Gives each request its id, its client's address and the name it goes by in the history."""

import re
from collections.abc import Callable, MutableMapping
from typing import Any
from uuid import uuid4

import structlog
from django.http import HttpRequest, HttpResponse

from audit_app.integrity.config_history import request_in_history
from core.network.client_address import client_address, forwarded_name, is_trusted_proxy

GetResponse = Callable[[HttpRequest], HttpResponse]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# A header is named HTTP_ and more: no client can name this.
_KEPT_ID = "keeper.request_id"
_FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_REQUEST_ID")


class Middleware:
    """The base of middleware, with what answers further in."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response


class RequestContextMiddleware(Middleware):
    """Sets `request.request_id` and `request.client_address`, for the log and the history of configuration.

    Headers reserved for proxies (X-Forwarded-*, X-Request-ID) are removed from requests that do not come
    from one of KEEPER_TRUSTED_PROXIES.
    """

    def __call__(self, request: HttpRequest) -> HttpResponse:
        drop_untrusted_headers(request.META)
        request_id = request_id_of(request.META)
        address = client_address(request)
        request.request_id = request_id  # type: ignore[attr-defined]  # ours, on Django's request
        request.client_address = address  # type: ignore[attr-defined]  # ours, on Django's request
        bound = structlog.contextvars.bound_contextvars(request_id=request_id, address=address)
        with bound, request_in_history(request):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


def drop_untrusted_headers(meta: MutableMapping[str, Any]) -> None:
    """Remove the headers reserved for proxies from a request that no trusted proxy has sent."""
    if not is_trusted_proxy(str(meta.get("REMOTE_ADDR", ""))):
        for header in (*_FORWARDED, forwarded_name()):
            meta.pop(header, None)


def request_id_of(meta: MutableMapping[str, Any]) -> str:
    """Return the id that a trusted proxy gave a request, or a new one; the same one each time."""
    stored_id: str = meta.get(_KEPT_ID, "")
    if stored_id:
        return stored_id
    header = meta.get("HTTP_X_REQUEST_ID", "")
    meta[_KEPT_ID] = request_id = header if _REQUEST_ID.fullmatch(header) else uuid4().hex
    return request_id
