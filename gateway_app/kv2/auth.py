"""Signing in and what a token is, in the terms of the protocol."""

from collections.abc import Mapping
from datetime import datetime
from hmac import compare_digest
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from core.canonical_json import Json
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.errors import BadToken, InvalidField, JwtRefused
from environments_app.models import PersonalToken, ServiceToken
from environments_app.sessions.service import revoke_token
from environments_app.tokens.authentication import check_secret, parse
from environments_app.tokens.children import (
    DEFAULT_LIFETIME,
    end_token,
    family,
    issue_child,
    renew_token,
)
from environments_app.tokens.personal import PREFIX, parse_personal
from environments_app.trusts.sign_in import sign_in
from gateway_app.kv2.answers import Kv2Error, denied, envelope, no_content, respond, time_text
from gateway_app.kv2.children import asked_of_child
from gateway_app.kv2.durations import duration_of
from gateway_app.kv2.views import Kv2View, OpenView, body_of
from gateway_app.protocol import signed_in

_KIND: Final = "service"
_OF_PERSON: Final = "personal"
_NO_CHILDREN: Final = "A personal token makes no children: use a service token. Nothing was issued."
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
    """What a token is that the body names: the caller's own, or a child."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Return what it is, and refuse any other token in the same words. Raises Kv2Error."""
        given = body_of(request).get("token", "")
        named_row(self.token, given)
        return _looked_up(given)

    put = post


class LookupAccessorView(Kv2View):
    """What the token of an accessor is: the caller's own, or a child."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Return what it is but for the token itself. Raises Kv2Error."""
        row = row_of_accessor(self.token, body_of(request).get("accessor"))
        return respond(envelope({**_facts(row), **_times(row), "id": ""}))

    put = post


class AccessorsView(Kv2View):
    """The accessors of the caller's token and of its children."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Return them where `list` is asked for."""
        return self.list(request)

    def list(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return them."""
        keys: list[Json] = [each.public_id for each in relatives(self.token)]
        return respond(envelope({"keys": keys}))


class RenewView(Kv2View):
    """A token's lease: that of a child can be prolonged, any other has an end of its own."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Prolong the child that is asked for, by `increment` or as before. Raises Kv2Error."""
        body = body_of(request)
        given = body.get("increment")
        lifetime = duration_of(0 if given in (None, "") else given, "increment")
        row = self.named(body)
        if isinstance(row, PersonalToken) or row.renewable_until is None:
            raise Kv2Error(HTTPStatus.BAD_REQUEST, "lease is not renewable")
        child = renew_token(actor=self.actor, token=row, lifetime=lifetime)
        return respond(envelope(auth=_auth(child, self.text(body), _metadata(child))))

    put = post

    def named(self, body: Mapping[str, Any]) -> ServiceToken | PersonalToken:  # noqa: ARG002 - for those below
        """Return the row of the token that is prolonged."""
        return _row(self.token)

    def text(self, body: Mapping[str, Any]) -> str:  # noqa: ARG002 - for those below
        """Return what is answered as the token."""
        return self.token


class RenewOfView(RenewView):
    """The lease of a token that the body names: the caller's own, or a child."""

    def named(self, body: Mapping[str, Any]) -> ServiceToken | PersonalToken:
        return named_row(self.token, body.get("token", ""))

    def text(self, body: Mapping[str, Any]) -> str:
        return str(body["token"])


class RenewAccessorView(RenewView):
    """The lease of the token of an accessor: the caller's own, or a child."""

    def named(self, body: Mapping[str, Any]) -> ServiceToken | PersonalToken:
        return row_of_accessor(self.token, body.get("accessor"))

    def text(self, body: Mapping[str, Any]) -> str:  # noqa: ARG002 - it is not known
        return ""


class RevokeView(Kv2View):
    """The end of a token."""

    def post(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """End the token of a workload, a child or a person; other processes may use that of a service."""
        return self.end(_row(self.token))

    put = post

    def end(self, row: ServiceToken | PersonalToken) -> HttpResponse:
        """End a token of the caller's, and with it its children. Raises Kv2Error."""
        if isinstance(row, PersonalToken):
            revoke_token(actor=self.actor, token=row)
            return no_content()
        if row.trust_uuid is None and row.parent_uuid is None:
            raise Kv2Error(HTTPStatus.BAD_REQUEST, _NOT_REVOKED)
        end_token(actor=self.actor, token=row)
        return no_content()


class RevokeOfView(RevokeView):
    """The end of a token that the body names: the caller's own, or a child."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """End it, and refuse any other token in the same words. Raises Kv2Error."""
        return self.end(named_row(self.token, body_of(request).get("token", "")))

    put = post


class RevokeAccessorView(RevokeView):
    """The end of the token of an accessor: the caller's own, or a child."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """End it, and refuse any other accessor in the same words. Raises Kv2Error."""
        return self.end(row_of_accessor(self.token, body_of(request).get("accessor")))

    put = post


class CreateView(Kv2View):
    """Children of the caller's token."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Return a child with less: a lower role as its policy, a narrower path, or a shorter time."""
        row = _row(self.token)
        if isinstance(row, PersonalToken):
            raise Kv2Error(HTTPStatus.FORBIDDEN, _NO_CHILDREN)
        asked = asked_of_child(body_of(request), row)
        try:
            child, text = issue_child(actor=self.actor, parent=row, **asked)
        except InvalidField as error:
            raise Kv2Error(HTTPStatus.BAD_REQUEST, f"{error.field}: {error.reason}") from error
        return respond(envelope(auth=_auth(child, text, _metadata(child))))

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


def relatives(token: str) -> list[ServiceToken | PersonalToken]:
    """Return the row of a token, and those of its valid children."""
    row = _row(token)
    return [row] if isinstance(row, PersonalToken) else [*family(row)]


def row_of_accessor(token: str, accessor: Any) -> ServiceToken | PersonalToken:
    """Return the row that an accessor names, of a token or its children. Raises Kv2Error for any other."""
    for each in relatives(token):
        if each.public_id == accessor:
            return each
    raise denied()


def named_row(token: str, given: Any) -> ServiceToken | PersonalToken:
    """Return the row of a token that is given in full, of a token or its children. Raises Kv2Error."""
    if isinstance(given, str) and compare_digest(given.encode(), token.encode()):
        return _row(token)
    try:
        public_id, secret = parse(given if isinstance(given, str) else "")
        row = row_of_accessor(token, public_id)
        check_secret(row, secret)
    except BadToken as error:
        raise denied() from error
    return row


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
        "renewable": _renewable(row) is not None,
        "entity_id": "",
        "token_type": _KIND,
        "orphan": not _is_child(row),
        "mfa_requirement": None,
        "num_uses": 0,
    }


def _row(token: str) -> ServiceToken | PersonalToken:
    if token.startswith(PREFIX):
        public_id, _ = parse_personal(token)
        return PersonalToken.objects.select_related("environment").get(public_id=public_id)
    public_id, _ = parse(token)
    return ServiceToken.objects.select_related("environment").get(public_id=public_id)


def _is_child(row: ServiceToken | PersonalToken) -> bool:
    return isinstance(row, ServiceToken) and row.parent_uuid is not None


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
        "orphan": not _is_child(row),
        "path": "auth/token/create",
        "policies": [_policy(row)],
        "renewable": _renewable(row) is not None,
        "type": _KIND,
    }


def _times(row: ServiceToken | PersonalToken) -> dict[str, Json]:
    lifetime = (row.expires_at - row.created_at).total_seconds() if row.expires_at else 0
    until = _renewable(row)
    longest = round((until - row.created_at).total_seconds()) if until else 0
    return {
        "creation_time": int(row.created_at.timestamp()),
        "creation_ttl": int(lifetime),
        "expire_time": time_text(row.expires_at) or None,
        # That of the installation is none of the token's.
        "explicit_max_ttl": 0 if longest == DEFAULT_LIFETIME.total_seconds() else longest,
        "issue_time": time_text(row.created_at),
        "ttl": _seconds_left(row),
    }


def _renewable(row: ServiceToken | PersonalToken) -> datetime | None:
    return row.renewable_until if isinstance(row, ServiceToken) else None


def _metadata(child: ServiceToken) -> dict[str, Json]:
    return {"prefix": child.prefix} if child.prefix else {}


def _seconds_left(row: ServiceToken | PersonalToken) -> int:
    return max(0, int((row.expires_at - timezone.now()).total_seconds())) if row.expires_at else 0
