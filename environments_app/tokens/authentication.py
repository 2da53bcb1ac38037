"""Lets the bearers of service tokens in: by the token's text, its columns, or a session of it."""

import hmac
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import CharField, Q
from django.utils import timezone

from audit_app.integrity.proven_table import ProvenTable
from audit_app.integrity.row_authentication import verified_rows
from core.db import statements
from core.db.concurrency import repeatable
from core.db.prepared import Argument, PreparedQuery
from core.network.client_address import networks_of, parse_address
from environments_app.authorization.policy import Grant, Principal
from environments_app.authorization.principals import (
    grant_in,
    grants_on,
    is_ended_by_parent,
    is_ended_by_trust,
    token_bearer,
)
from environments_app.errors import BadToken
from environments_app.models import DeviceSignIn, Environment, PersonalToken, ServiceToken, TokenRole
from environments_app.models.access import has_token_begun, is_token_live
from environments_app.tokens.peppers import current_pepper_id, hash_secret
from environments_app.tokens.request_rate import count_request


class EnvironmentRow(NamedTuple):
    """An environment that proved itself."""

    pk: int
    uuid: UUID
    name: str


class TokenRow(NamedTuple):
    """A token of an environment; both proved themselves. Whether it may be used now is not decided yet."""

    pk: int
    uuid: UUID
    role: str
    name: str
    public_id: str
    pepper_id: str
    secret_hash: str
    prefix: str
    cidrs: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    suspended_at: datetime | None
    last_used_at: datetime | None
    trust_uuid: str | None
    parent_uuid: str | None
    environment: EnvironmentRow

    @property
    def environment_id(self) -> int:
        return self.environment.pk

    @property
    def grants(self) -> tuple[Grant, ...]:
        if self.role == TokenRole.ADMIN:
            return ()
        pk, uuid, name = self.environment
        return (grant_in(role=self.role, prefix=self.prefix, id=pk, uuid=uuid, name=name),)


_TOKENS: Final = ProvenTable(ServiceToken, TokenRow._fields[:-1])
_ENVIRONMENTS: Final = ProvenTable(Environment, EnvironmentRow._fields)
_WIDTH: Final = len(_TOKENS.columns)


@cache
def statement(count: int) -> str:
    """Return the SELECT of tokens by so many public ids, each with its environment."""
    marks = ", ".join(["%s"] * count)
    return (
        f"SELECT {_TOKENS.select('t')}, {_ENVIRONMENTS.select('e')} FROM {_TOKENS.table} t "  # noqa: S608 - our own names
        f"JOIN {_ENVIRONMENTS.table} e ON e.id = t.environment_id AND e.deleted_at IS NULL "
        # A decoy is answered as what was never issued (`tokens.decoys`).
        f"WHERE t.public_id IN ({marks}) AND t.decoy IS NULL"
    )


def proven(row: Sequence[Any]) -> TokenRow | None:
    """Return a token of a row that `statement` gave; None if it or its environment is not Keeper's."""
    environment = _ENVIRONMENTS.prove(row[_WIDTH:])
    token = environment and _TOKENS.prove(row[:_WIDTH], {"environment.uuid": environment["uuid"]})
    if not environment or not token:
        return None
    place = EnvironmentRow(environment["pk"], UUID(environment["uuid"]), environment["name"])
    token["uuid"] = UUID(token["uuid"])
    return TokenRow(**{name: token[name] for name in TokenRow._fields[:-1]}, environment=place)


_TOKEN: Final = re.compile(r"kpr_([A-Za-z0-9_-]{22})_([A-Za-z0-9_-]{43})")
_LAST_USE_INTERVAL: Final = timedelta(minutes=1)
_BY_PUBLIC_ID: Final = PreparedQuery(
    lambda: (
        ServiceToken.objects.select_related("environment")
        .filter(public_id=Argument(0, CharField()), decoy=None)
        .order_by()
    )
)


def authenticate(raw: str, *, address: str, request_id: str = "") -> Principal:
    """Return whom a token stands for, at the cost of one query if it is genuine, and one of an environment.

    Every refusal looks the same to the caller: raises BadToken, whose reason is for the audit log, and
    TooManyRequests beyond the limit of the token.
    """
    public_id, secret = parse(raw)
    actor = verify_proven(public_id, secret, address=address, request_id=request_id)
    if actor is None:
        return verify(_BY_PUBLIC_ID.first(public_id), secret, address=address, request_id=request_id)
    count_request(public_id)
    return actor


def verify_proven(public_id: str, secret: str, *, address: str, request_id: str = "") -> Principal | None:
    """Return whom a token stands for whose columns prove themselves, without counting the request.

    Returns None if they do not, or there is none: then the instance has to judge. Raises BadToken.
    """
    found = statements.first_row(connections[DEFAULT_DB_ALIAS], statement(1), [public_id])
    token = proven(found) if found else None
    return verify_row(token, secret, address=address, request_id=request_id) if token else None


def parse(raw: str) -> tuple[str, str]:
    """Return the public id of a token's text, by which its row is found, and its secret. Raises BadToken."""
    match = _TOKEN.fullmatch(raw)
    if match is None:
        raise BadToken("malformed-token")
    return match[1], match[2]


def verify(token: ServiceToken | None, secret: str, *, provisions: bool = False, **origin: str) -> Principal:
    """Return whom a stored token, loaded along with its environment, stands for; raises BadToken.

    `origin` is the address, and the id of the request. A SCIM client's token opens /scim alone.
    """
    check_secret(token, secret)
    return _bearer(token, provisions=provisions, **origin)


def _bearer(
    token: ServiceToken | None, *, address: str, request_id: str = "", provisions: bool = False
) -> Principal:
    if token is None or not verified_rows([token]):
        raise BadToken("forged-token")
    if (token.role == TokenRole.PROVISIONER) != provisions:
        raise BadToken("token-of-another-door")
    if token.environment is not None and token.environment.deleted_at is not None:
        raise BadToken("token-of-deleted-environment")
    _check_use(token, address)
    count_request(token.public_id)
    return token_bearer(token, grants_on(token), address=address, request_id=request_id)


def authenticate_session(public_id: str, *, address: str, request_id: str = "") -> Principal:
    """Return whom the token of a session that Keeper sealed stands for, as it is now. Raises BadToken."""
    token = _BY_PUBLIC_ID.first(public_id)
    _require_pepper(token)
    return _bearer(token, address=address, request_id=request_id)


def _require_pepper(token: ServiceToken | TokenRow | None) -> None:
    """Let no token pass whose pepper is gone: neither does what was derived from it open anything."""
    if token is None or hash_secret("", pepper_id=token.pepper_id) is None:
        raise BadToken("unknown-token")


def verify_row(token: TokenRow, secret: str | None, *, address: str, request_id: str = "") -> Principal:
    """Do what `verify` does for a token whose columns have proved themselves, without counting the request.

    `secret` is None if a session of the token proved itself. Raises BadToken.
    """
    if secret is None:
        _require_pepper(token)
    else:
        check_secret(token, secret)
    _check_use(token, address)
    return token_bearer(token, token.grants, address=address, request_id=request_id)


def _check_use(token: ServiceToken | TokenRow, address: str) -> None:
    """Let pass what may be used now and from there, and note it. Raises BadToken."""
    if token.revoked_at is not None:
        raise BadToken("revoked-token")
    if token.suspended_at is not None:
        raise BadToken("suspended-token")
    if not has_token_begun(token):
        raise BadToken("token-not-begun")
    if not is_token_live(token):
        raise BadToken("expired-token")
    if is_ended_by_trust(token):
        raise BadToken("token-ended-by-trust")
    if is_ended_by_parent(token):
        raise BadToken("token-ended-by-parent")
    if not is_from(address, token.cidrs):
        raise BadToken("token-from-elsewhere")
    note_use(token, address)


def check_secret(token: ServiceToken | PersonalToken | DeviceSignIn | TokenRow | None, secret: str) -> None:
    """Compare in constant time, also without a stored value. Raises BadToken."""
    pepper_id = token.pepper_id if token else current_pepper_id()
    given = hash_secret(secret, pepper_id=pepper_id)
    stored = token.secret_hash if token else ""
    if not hmac.compare_digest((given or "").encode(), stored.encode()) or not given:
        raise BadToken("unknown-token")


def note_use(token: ServiceToken | PersonalToken | TokenRow, address: str) -> None:
    """Write the last use, at most once a minute whatever the number of processes."""
    now = timezone.now()
    if token.last_used_at is not None and token.last_used_at > now - _LAST_USE_INTERVAL:
        return
    due = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - _LAST_USE_INTERVAL)
    rows = PersonalToken.objects if isinstance(token, PersonalToken) else ServiceToken.objects
    with repeatable():
        rows.filter(due, pk=token.pk).update(last_used_at=now, last_used_address=address[:45])


def is_from(address: str, cidrs: list[str]) -> bool:
    """Return whether an address lies in one of some networks, or there are none."""
    if not cidrs:
        return True
    client = parse_address(address)
    return client is not None and any(client in network for network in networks_of(tuple(cidrs)))
