"""Signing in and what a token is, in the terms of the protocol."""

from hmac import compare_digest
from http import HTTPStatus
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from core.canonical_json import Json
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.errors import BadToken, JwtRefused
from environments_app.models import PersonalToken, ServiceToken
from environments_app.sessions.service import revoke_token
from environments_app.tokens.authentication import parse
from environments_app.tokens.personal import PREFIX, parse_personal
from environments_app.trusts.sign_in import end_token, sign_in
from gateway_app.kv2.answers import Kv2Error, denied, envelope, no_content, respond, time_text
from gateway_app.kv2.views import Kv2View, OpenView, body_of
from gateway_app.protocol import signed_in

_KIND: Final = "service"
_OF_PERSON: Final = "personal"
_NOT_REVOKED: Final = (
    "Keeper's service tokens are revoked by a manager of the environment, not by themselves. "
    "Nothing was revoked."
)


class LookupView(Kv2View):
    """What the token of the request is."""

    def get(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return its role as its policy, and its end."""
        return _looked_up(self.token)

    post = get


class LookupOfView(Kv2View):
    """What a token is that the body names: the caller's own."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Return what it is, and refuse any other token in the same words. Raises Kv2Error."""
        given = body_of(request).get("token", "")
        if not isinstance(given, str) or not compare_digest(given.encode(), self.token.encode()):
            raise denied()
        return _looked_up(self.token)

    put = post


class RenewView(Kv2View):
    """A token's lease, which has an end of its own."""

    def post(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Refuse to prolong it."""
        raise Kv2Error(HTTPStatus.BAD_REQUEST, "lease is not renewable")

    put = post


class RevokeView(Kv2View):
    """The end of a token."""

    def post(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """End the token of a workload or a person; other processes may use that of a service."""
        row = _row(self.token)
        if isinstance(row, PersonalToken):
            revoke_token(actor=self.actor, token=row)
            return no_content()
        if row.trust_uuid is not None:
            end_token(actor=self.actor, token=row)
            return no_content()
        raise Kv2Error(HTTPStatus.BAD_REQUEST, _NOT_REVOKED)

    put = post


class AppRoleLoginView(OpenView):
    """The sign-in of a service token in two parts: `role_id` is its public id, `secret_id` its secret."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Return the token itself. Raises Kv2Error."""
        body = body_of(request)
        token = f"kpr_{body.get('role_id', '')}_{body.get('secret_id', '')}"
        try:
            signed_in(request, token)
        except BadToken as error:
            raise Kv2Error(HTTPStatus.BAD_REQUEST, "invalid role or secret ID") from error
        row = _row(token)
        return respond(envelope(auth=_auth(row, token, {"role_name": row.name})))

    put = post


class WorkloadLoginView(OpenView):
    """The sign-in of a workload: `role` is the name of a trust, `jwt` what its platform signed."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Return a short token, and refuse everything else in the same words. Raises Kv2Error."""
        body = body_of(request)
        role, jwt = body.get("role", ""), body.get("jwt", "")
        if not isinstance(role, str) or not isinstance(jwt, str) or not role or not jwt:
            raise Kv2Error(HTTPStatus.BAD_REQUEST, "missing role or jwt")
        address, request_id = address_of(request), request_id_of(request)
        try:
            entered = sign_in(trust_name=role, jwt=jwt, address=address, request_id=request_id)
        except JwtRefused as error:
            if error.reason == "jwt-replayed":
                raise Kv2Error(HTTPStatus.FORBIDDEN, str(error)) from error
            raise denied() from error
        auth = _auth(entered.token, entered.text, {"role": entered.trust.name})
        return respond(envelope(auth=auth))

    put = post


def _looked_up(token: str) -> HttpResponse:
    row = _row(token)
    return respond(envelope({**_facts(row), **_times(row), "id": token}))


def _auth(row: ServiceToken | PersonalToken, token: str, metadata: dict[str, Json]) -> dict[str, Json]:
    return {
        "client_token": token,
        "accessor": row.public_id,
        "policies": [_policy(row)],
        "token_policies": [_policy(row)],
        "metadata": metadata,
        "lease_duration": _seconds_left(row),
        "renewable": False,
        "entity_id": "",
        "token_type": _KIND,
        "orphan": True,
        "mfa_requirement": None,
        "num_uses": 0,
    }


def _row(token: str) -> ServiceToken | PersonalToken:
    if token.startswith(PREFIX):
        public_id, _ = parse_personal(token)
        return PersonalToken.objects.select_related("environment").get(public_id=public_id)
    public_id, _ = parse(token)
    return ServiceToken.objects.select_related("environment").get(public_id=public_id)


def _policy(row: ServiceToken | PersonalToken) -> str:
    """Return the name of a token's policy: its role; a person's rights depend on the name that is read."""
    return _OF_PERSON if isinstance(row, PersonalToken) else str(row.role)


def _facts(row: ServiceToken | PersonalToken) -> dict[str, Json]:
    environment = row.environment.name if row.environment else ""
    return {
        "accessor": row.public_id,
        "display_name": row.name,
        "entity_id": "",
        "meta": {"environment": environment, "prefix": row.prefix},
        "num_uses": 0,
        "orphan": True,
        "path": "auth/token/create",
        "policies": [_policy(row)],
        "renewable": False,
        "type": _KIND,
    }


def _times(row: ServiceToken | PersonalToken) -> dict[str, Json]:
    lifetime = (row.expires_at - row.created_at).total_seconds() if row.expires_at else 0
    return {
        "creation_time": int(row.created_at.timestamp()),
        "creation_ttl": int(lifetime),
        "expire_time": time_text(row.expires_at) or None,
        "explicit_max_ttl": 0,
        "issue_time": time_text(row.created_at),
        "ttl": _seconds_left(row),
    }


def _seconds_left(row: ServiceToken | PersonalToken) -> int:
    return max(0, int((row.expires_at - timezone.now()).total_seconds())) if row.expires_at else 0
