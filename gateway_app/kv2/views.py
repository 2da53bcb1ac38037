"""The base of the protocol's views: who calls, what is refused, and how an error is answered."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, TypeVar

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views import View

from core.http.problems import log_failure, problem_of
from environments_app.authorization.policy import Principal
from environments_app.errors import ApprovalNeeded, BadToken, Forbidden, Invisible, Suspended
from gateway_app.kv2.answers import TRUE, Kv2Error, denied, parsed, respond
from gateway_app.protocol import ProtocolView, signed_in
from secrets_app.errors import NameTaken, StaleVersion, WrappingEnded

_NAMESPACES: Final = frozenset({"", "/", "root", "root/"})
PATCH_TYPE: Final = "application/merge-patch+json"
_BEARER: Final = "bearer "
_NO_NAMESPACES: Final = (
    "Keeper has no namespaces: leave X-Vault-Namespace (VAULT_NAMESPACE) empty. An environment is a mount."
)
_NO_WRAPPING: Final = (
    "Keeper wraps the answer to a read of data alone: leave X-Vault-Wrap-TTL out. Nothing was done."
)
_UNREADABLE_WRAPPING: Final = (
    "X-Vault-Wrap-TTL is empty or cannot be read: give a time such as 5m, or leave it out. Nothing was done."
)
_NO_METHOD: Final = "unsupported operation"
_NO_FOLDER: Final = "cannot write to a path ending in '/'"
_WRITES: Final = frozenset({"POST", "PUT", "PATCH"})
# As many as a write without an expected version has.
_ATTEMPTS: Final = 30
Answer = TypeVar("Answer")


def repeated(act: Callable[[], Answer]) -> Answer:
    """Do what reads a secret and writes it, and begin again where another write was first.

    Raises NameTaken or StaleVersion after the last attempt.
    """
    for _ in range(1, _ATTEMPTS):
        with suppress(NameTaken, StaleVersion):
            return act()
    return act()


class OpenView(ProtocolView):
    """Answers errors as the protocol does; no token is needed."""

    http_method_names = [*View.http_method_names, "list", "scan"]
    # Whether what it reads can be wrapped.
    wraps = False

    def admit(self, request: HttpRequest) -> None:
        """Refuse what would be ignored otherwise. Raises Kv2Error."""
        if request.headers.get("X-Vault-Namespace", "") not in _NAMESPACES:
            raise Kv2Error(HTTPStatus.BAD_REQUEST, _NO_NAMESPACES)
        lifetime = request.headers.get("X-Vault-Wrap-TTL")
        if lifetime == "":
            # A server leaves nothing of a header that it cannot read. The value must not go out in clear.
            raise Kv2Error(HTTPStatus.BAD_REQUEST, _UNREADABLE_WRAPPING)
        if lifetime and not (self.wraps and request.method == "GET"):
            raise Kv2Error(HTTPStatus.BAD_REQUEST, _NO_WRAPPING)

    def failed(self, error: Exception) -> HttpResponse | None:
        if isinstance(error, ApprovalNeeded):
            place = self.request.build_absolute_uri(reverse("approval-detail", args=[error.approval]))
            return respond({"errors": [f"{error} {place}"]}, status=HTTPStatus.FORBIDDEN)
        if isinstance(error, Invisible | Forbidden | BadToken | PermissionDenied) and not isinstance(
            error, Suspended
        ):
            error = denied()
        if isinstance(error, WrappingEnded):
            error = Kv2Error(HTTPStatus.BAD_REQUEST, str(error))
        if isinstance(error, Kv2Error) and error.status == HTTPStatus.METHOD_NOT_ALLOWED:
            return self.http_method_not_allowed(self.request)
        if isinstance(error, Kv2Error):
            return respond(error.body, status=error.status)
        problem = problem_of(error)
        if problem is None:
            return None
        log_failure(error, problem)
        reasons = [problem.detail, *(each["reason"] for each in problem.further_errors if "reason" in each)]
        answer = respond({"errors": reasons}, status=problem.status)
        for name, value in problem.headers.items():
            answer[name] = value
        return answer

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # noqa: ARG002 - Django's signature
        answer = respond({"errors": [_NO_METHOD]}, status=HTTPStatus.METHOD_NOT_ALLOWED)
        answer["Allow"] = ", ".join(name.upper() for name in self.http_method_names if hasattr(self, name))
        return answer


class Kv2View(OpenView):
    """Answers the bearer of a token."""

    actor: Principal
    token: str

    def admit(self, request: HttpRequest) -> None:
        """Find out who calls as well. Raises Kv2Error, BadToken and TooManyRefusals."""
        super().admit(request)
        self.token = token_of(request)
        self.actor = signed_in(request, self.token)
        request.principal = self.actor  # type: ignore[attr-defined]  # the history of configuration looks there
        if request.method in _WRITES and request.path.endswith("/"):
            raise Kv2Error(HTTPStatus.BAD_REQUEST, _NO_FOLDER)
        for word in ("list", "scan"):
            # In a GET it means the method of this name.
            if request.method == "GET" and request.GET.get(word) in TRUE and not hasattr(self, word):
                raise Kv2Error(HTTPStatus.METHOD_NOT_ALLOWED, _NO_METHOD)


def token_of(request: HttpRequest) -> str:
    """Return the token that a request carries in either of the protocol's headers."""
    bearer = request.headers.get("Authorization", "")
    given = bearer[len(_BEARER) :] if bearer.lower().startswith(_BEARER) else ""
    return request.headers.get("X-Vault-Token", "") or given.strip()


def body_of(request: HttpRequest) -> Mapping[str, Any]:
    """Return the JSON object that a request sends, whatever it calls it; empty for no body.

    Raises as `parsed` does. Go's client sends no Content-Type, and others that of a form with nothing in it.
    """
    return parsed(request.body) if request.body else {}


def patch_of(request: HttpRequest) -> Mapping[str, Any]:
    """Return the merge patch that a request sends. Raises Kv2Error if it calls it anything else."""
    given = request.content_type or ""
    if not given:
        raise Kv2Error(HTTPStatus.BAD_REQUEST, "mime: no media type")
    if given != PATCH_TYPE:
        reason = f"PATCH requires Content-Type of {PATCH_TYPE}. Nothing was stored."
        raise Kv2Error(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, reason)
    return body_of(request)
