"""Wrapped reads: `X-Vault-Wrap-TTL`, and `sys/wrapping`, which opens what was wrapped."""

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse

from core.canonical_json import Json
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.authorization.policy import Principal
from gateway_app.kv2.answers import Kv2Error, envelope, respond, revealed, time_text
from gateway_app.kv2.durations import duration_of
from gateway_app.kv2.views import OpenView, body_of, token_of
from gateway_app.protocol import signed_in
from secrets_app.models import Secret, WrappedRead
from secrets_app.services.wrapped_reads import Opener, find_wrapped, unwrap_read, wrap_read

WRAP: Final = "X-Vault-Wrap-TTL"
_NO_TOKEN: Final = "error validating wrapping token: token is empty"  # noqa: S105 - a sentence
_NO_TEXT: Final = "error validating wrapping token: could not decode token in request body"
_NO_FORMAT: Final = "Keeper wraps in tokens alone: leave X-Vault-Wrap-Format out. Nothing was done."


def wrap_lifetime(request: HttpRequest) -> timedelta:
    """Return for how long a request wants its answer wrapped; no time leaves it as it is. Raises Kv2Error."""
    given = request.headers.get(WRAP, "")
    if not given:
        return timedelta(0)
    if request.headers.get("X-Vault-Wrap-Format", "token") not in {"", "token"}:
        raise Kv2Error(HTTPStatus.BAD_REQUEST, _NO_FORMAT)
    lifetime = duration_of(given, WRAP)
    # The protocol counts whole seconds; less than one would be none.
    return timedelta(seconds=max(1, int(lifetime.total_seconds()))) if lifetime else lifetime


def wrapped(
    *, actor: Principal, secret: Secret, number: int | None, path: str, lifetime: timedelta
) -> HttpResponse:
    """Wrap a read, and return its answer: the wrapping token instead of the value."""
    row, text = wrap_read(actor=actor, secret=secret, number=number, path=path, lifetime=lifetime)
    facts: dict[str, Json] = {
        "token": text,
        "accessor": row.uuid.hex,
        "ttl": _seconds(row),
        "creation_time": time_text(row.created_at),
        "creation_path": row.path,
    }
    return respond({**envelope(), "wrap_info": facts})


class _WrappingView(OpenView):
    """Takes a wrapping token in the body, sent by another token, or as the token of the request."""

    def wrapping_token(self, request: HttpRequest, body: Mapping[str, Any]) -> str:
        """Return it. Raises Kv2Error if there is none."""
        given = body.get("token") or token_of(request)
        if not isinstance(given, str):
            raise Kv2Error(HTTPStatus.FORBIDDEN, _NO_TEXT)
        if not given:
            raise Kv2Error(HTTPStatus.FORBIDDEN, _NO_TOKEN)
        return given

    def opener(self, request: HttpRequest, text: str) -> Opener:
        """Return who opens it: the bearer of the token of the request, if that is another one.

        Raises BadToken and TooManyRefusals.
        """
        sender = token_of(request)
        principal = signed_in(request, sender) if sender != text else None
        return Opener(address_of(request), request_id_of(request), principal)


class WrappingLookupView(_WrappingView):
    """What a wrapping token is."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Return which path was read, when, and for how long the token lasts; it stays as it is."""
        text = self.wrapping_token(request, body_of(request))
        row = find_wrapped(text=text, opener=Opener(address_of(request), request_id_of(request)))
        data: dict[str, Json] = {
            "creation_path": row.path,
            "creation_time": time_text(row.created_at),
            "creation_ttl": _seconds(row),
        }
        return respond(envelope(data))

    get = put = post


class UnwrapView(_WrappingView):
    """The opening of a wrapped read."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Return the answer that was wrapped, once, recorded."""
        text = self.wrapping_token(request, body_of(request))
        opener = self.opener(request, text)
        return respond(envelope(revealed(unwrap_read(text=text, opener=opener))))

    get = put = post


def _seconds(row: WrappedRead) -> int:
    return round((row.expires_at - row.created_at).total_seconds())
