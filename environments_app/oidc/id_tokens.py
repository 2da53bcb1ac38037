"""The rules by which ID tokens and logout tokens are judged; each refusal has a kind of its own."""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NoReturn

from environments_app.errors import SignOnRefused
from environments_app.oidc.discovery import is_okta, tenant_of
from environments_app.trusts.jwt.document import BadJwt, Jwt, Key, parse_jwt
from environments_app.trusts.jwt.rules import LEEWAY_SECONDS, MAX_ID, TrustRules, claim_texts, first_failure

LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_MAX_AGE_SECONDS: Final = 600
LOGOUT_AGE_SECONDS: Final = 300
_MAX_SUBJECT: Final = 255
_MAX_GROUP: Final = 255
# Okta sends so many groups of more, and does not say so.
_OKTA_GROUPS: Final = 100
_ID_TOKEN: Final = frozenset({"jwt"})
_LOGOUT_TOKEN: Final = frozenset({"jwt", "logout+jwt"})
_HASHES: Final = {"256": hashlib.sha256, "384": hashlib.sha384}

_NOT_VALID: Final = "The answer of the identity provider is not valid. Sign in again."
_SENTENCES: Final[Mapping[str, str]] = {
    "oidc-expired": "The answer of the identity provider is too old. Sign in again, and compare the clocks.",
    "oidc-not-yet-valid": "The answer of the identity provider is of the future: compare the clocks.",
    "oidc-too-old": "The answer of the identity provider is too old. Sign in again.",
    "oidc-not-member": "Your account at the identity provider may not sign in here. Ask an administrator.",
    "oidc-tenant": "Your account is of another organisation than Keeper's.",
    "oidc-guest": "Guests of the organisation may not sign in here. Ask an administrator.",
    "oidc-groups-unknown": "Your account is in more groups than the identity provider sends. "
    "Ask an administrator to send only groups that are assigned to Keeper.",
}


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a provider's tokens have to be."""

    issuer: str
    client_id: str
    algorithm: str
    required: Mapping[str, Sequence[str]] = field(default_factory=dict)
    groups_claim: str = ""
    allows_guests: bool = False


def refuse(reason: str, sentence: str = "") -> NoReturn:
    """Raise SignOnRefused with the sentence of a reason."""
    raise SignOnRefused(reason, sentence or _SENTENCES.get(reason, _NOT_VALID))


def read_token(text: str, *, logout: bool = False) -> Jwt:
    """Return a token, of which nothing is proved yet. Raises SignOnRefused."""
    try:
        return parse_jwt(text, types=_LOGOUT_TOKEN if logout else _ID_TOKEN)
    except BadJwt as error:
        refuse(error.reason.replace("jwt-", "oidc-", 1))


def judge_id_token(
    jwt: Jwt, key: Key | None, expected: Expected, *, nonce: str, access_token: str, now: float
) -> Mapping[str, Any]:
    """Return the claims of an ID token that meets every rule. Raises SignOnRefused."""
    _judge(jwt, key, expected, seconds=_MAX_AGE_SECONDS, now=now)
    claims = jwt.claims
    if len(claims["sub"]) > _MAX_SUBJECT:
        refuse("oidc-subject")
    if "azp" in claims and claims["azp"] != expected.client_id:
        refuse("oidc-azp")
    stated = claims.get("nonce")
    if not isinstance(stated, str) or not hmac.compare_digest(stated.encode(), nonce.encode()):
        refuse("oidc-nonce")
    if "at_hash" in claims and claims["at_hash"] != _half_hash(access_token, expected.algorithm):
        refuse("oidc-at-hash")
    # Some providers state 0 where they do not know it: as without a time, nothing is proved afresh.
    is_stated = "auth_time" in claims and not (claims["auth_time"] == 0 and claims["auth_time"] is not False)
    if is_stated and not 0 < (_seconds(claims["auth_time"]) or 0) <= now + LEEWAY_SECONDS:
        refuse("oidc-auth-time")
    if "sid" in claims and not _is_id(claims["sid"]):
        # No logout could name it.
        refuse("oidc-sid")
    _require_member(claims, expected)
    return claims


def judge_logout_token(jwt: Jwt, key: Key | None, expected: Expected, *, now: float) -> Mapping[str, Any]:
    """Return the claims of a logout token that meets every rule. Raises SignOnRefused."""
    claims = jwt.claims
    if "sub" not in claims and "sid" not in claims:
        refuse("oidc-logout-nobody")
    if "exp" not in claims:
        # Older drafts of the standard know none. Its age is judged in any case.
        jwt = replace(jwt, claims={**claims, "exp": now + LOGOUT_AGE_SECONDS})
    _judge(jwt, key, expected, seconds=LOGOUT_AGE_SECONDS, now=now, needs_subject="sub" in claims)
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        refuse("oidc-logout-event")
    if "nonce" in claims:
        refuse("oidc-logout-nonce")
    for name, kind in (("jti", "oidc-no-id"), ("sid", "oidc-logout-nobody")):
        if not _is_id(claims.get(name)) and (name in claims or name == "jti"):
            refuse(kind)
    return claims


def groups_of(claims: Mapping[str, Any], expected: Expected) -> frozenset[str]:
    """Return the groups in claims, all of them. Raises SignOnRefused where some are left out.

    To apply a part of the groups would take roles away, or leave them.
    """
    name = expected.groups_claim
    if not name:
        return frozenset()
    elsewhere = claims.get("_claim_names")
    is_cut = "hasgroups" in claims or "groups:src1" in claims
    if is_cut or (elsewhere is not None and (not isinstance(elsewhere, dict) or name in elsewhere)):
        refuse("oidc-groups-unknown")
    value = claims.get(name, [])
    groups = [value] if isinstance(value, str) else value
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        refuse(
            "oidc-groups-unknown",
            "The identity provider sends your groups in a form that Keeper cannot read.",
        )
    if is_okta(expected.issuer) and len(groups) >= _OKTA_GROUPS:
        refuse("oidc-groups-unknown")
    return frozenset(group for group in groups if len(group) <= _MAX_GROUP)


def proved_at(claims: Mapping[str, Any]) -> int:
    """Return when the provider asked for credentials, by Keeper's clock; 0 if it does not say."""
    seconds = _seconds(claims.get("auth_time"))
    return 0 if seconds is None else int(seconds) + LEEWAY_SECONDS


def has_verified_address(claims: Mapping[str, Any], issuer: str) -> bool:
    """Return whether the provider states the address as the person's own."""
    name = "xms_edov" if tenant_of(issuer) else "email_verified"
    return str(claims.get(name)).lower() in {"true", "1"}


def _judge(
    jwt: Jwt, key: Key | None, expected: Expected, *, seconds: int, now: float, needs_subject: bool = True
) -> None:
    """Ask the rules that every token of an issuer meets."""
    rules = TrustRules(
        issuer=expected.issuer,
        audience=expected.client_id,
        algorithm=expected.algorithm,
        max_age_seconds=seconds,
    )
    failed = first_failure(jwt, rules, key, now=now, needs_subject=needs_subject)
    if failed is not None:
        refuse(failed.reason.replace("jwt-", "oidc-", 1))


def _require_member(claims: Mapping[str, Any], expected: Expected) -> None:
    for name, values in expected.required.items():
        if not set(claim_texts(claims, name)).intersection(values):
            refuse("oidc-not-member")
    tenant = tenant_of(expected.issuer)
    if tenant is None:
        return
    if claims.get("tid") != tenant:
        refuse("oidc-tenant")
    if claims.get("idp") not in (None, expected.issuer) and not expected.allows_guests:
        refuse("oidc-guest")


def _half_hash(token: str, algorithm: str) -> str:
    """Return the first half of a token's digest (OpenID Connect Core, 3.1.3.6)."""
    digest = _HASHES.get(algorithm[-3:], hashlib.sha512)(token.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= MAX_ID


def _seconds(value: Any) -> float | None:
    is_time = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**40
    return float(value) if is_time else None


def missing(claims: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    """Yield the mapped claims that an ID token leaves to the userinfo endpoint."""
    yield from (name for name in names if name and not name.startswith("/") and name not in claims)
