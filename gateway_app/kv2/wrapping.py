"""Wrapped reads: `X-Vault-Wrap-TTL`, and what opens or withdraws what was wrapped."""

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final, TypeGuard

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from core.canonical_json import Json
from environments_app.approvals.approvers import approvals_given
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.authorization.policy import Principal
from environments_app.errors import Invisible
from environments_app.models import Approval, ApprovalState
from gateway_app.kv2 import auth
from gateway_app.kv2.answers import Kv2Error, envelope, no_content, respond, revealed, time_text
from gateway_app.kv2.durations import duration_of
from gateway_app.kv2.views import Kv2View, OpenView, body_of, token_of
from gateway_app.protocol import signed_in
from secrets_app.models import Secret, WrappedRead
from secrets_app.services.wrapped_reads import (
    PREFIX,
    Opener,
    find_request,
    find_wrapped,
    revoke_accessor,
    revoke_wrapped,
    unwrap_read,
    wrap_read,
    wrap_request,
)

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
    return _answer(*wrap_read(actor=actor, secret=secret, number=number, path=path, lifetime=lifetime))


def requested(*, actor: Principal, secret: Secret, number: int | None, path: str) -> HttpResponse:
    """Request a read of a guarded secret, and return what opens it once a second person has agreed."""
    return _answer(*wrap_request(actor=actor, secret=secret, number=number, path=path))


def _answer(row: WrappedRead, text: str) -> HttpResponse:
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

    # No GET: whatever fetches an address ahead would use the token up.
    put = post


class RevokeView(auth.RevokeView):
    """The end of the token of the request, also of a wrapping token."""

    def admit(self, request: HttpRequest) -> None:
        """Find out who calls, unless a wrapping token does: it proves itself."""
        if _wraps(token_of(request)):
            OpenView.admit(self, request)
        else:
            super().admit(request)

    def post(self, request: HttpRequest) -> HttpResponse:
        """End it. Raises Kv2Error and WrappingEnded."""
        if not _wraps(token_of(request)):
            return super().post(request)
        opener = Opener(address_of(request), request_id_of(request))
        revoke_wrapped(text=token_of(request), opener=opener)
        return no_content()

    put = post


class RevokeOfView(auth.RevokeOfView):
    """The end of a token that the body names, also of a wrapping token: who has it could open it."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """End it. Raises Kv2Error and WrappingEnded."""
        given = body_of(request).get("token")
        if not _wraps(given):
            return super().post(request)
        revoke_wrapped(text=given, opener=Opener(address_of(request), request_id_of(request), self.actor))
        return no_content()

    put = post


class RevokeAccessorView(auth.RevokeAccessorView):
    """The end of the token of an accessor, also of a wrapping token that the caller or a child made."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """End it, and refuse any other accessor in the same words. Raises Kv2Error and WrappingEnded."""
        given = body_of(request).get("accessor")
        bearers = [each.public_id for each in auth.relatives(self.token)]
        if isinstance(given, str) and revoke_accessor(actor=self.actor, bearers=bearers, accessor=given):
            return no_content()
        return super().post(request)

    put = post


class ControlGroupView(Kv2View):
    """The state of a requested read of a guarded secret."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Return what was requested and who has agreed, to its requester."""
        row, approval = _request_of(self.actor, request)
        approved = approval.state in {ApprovalState.APPROVED, ApprovalState.EXECUTED}
        given: list[Json] = [
            {"entity_id": str(uuid), "entity_name": name} for uuid, name in approvals_given(approval).items()
        ]
        if approved and not given:
            given = [{"entity_id": str(approval.decided_by_uuid), "entity_name": approval.decided_by_name}]
        person: dict[str, Json] = {"id": str(approval.requester_uuid), "name": approval.requester_name}
        data: dict[str, Json] = {
            "approved": approved,
            "authorizations": given,
            "request_data": None,
            "request_entity": person,
            "request_operation": "read",
            "request_path": row.path,
        }
        return respond(envelope(data))

    put = post


class AuthorizeView(Kv2View):
    """The agreement to a read, which no token gives."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Refuse, with the page on which people decide."""
        _, approval = _request_of(self.actor, request)
        place = request.build_absolute_uri(reverse("approval-detail", args=[approval.pk]))
        raise Kv2Error(HTTPStatus.FORBIDDEN, f"People agree to a read, and no token does: {place}")

    put = post


def _request_of(actor: Principal, request: HttpRequest) -> tuple[WrappedRead, Approval]:
    accessor = body_of(request).get("accessor", "")
    if not accessor or not isinstance(accessor, str):
        raise Kv2Error(HTTPStatus.BAD_REQUEST, "missing accessor")
    try:
        return find_request(actor=actor, accessor=accessor)
    except Invisible as error:
        raise Kv2Error(HTTPStatus.BAD_REQUEST, "invalid accessor") from error


def _wraps(given: Any) -> TypeGuard[str]:
    return isinstance(given, str) and given.startswith(PREFIX)


def _seconds(row: WrappedRead) -> int:
    return round((row.expires_at - row.created_at).total_seconds())
