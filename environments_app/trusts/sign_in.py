"""Sign-in of workloads: a signed JWT is exchanged for a short service token; a trial has no effect.

The JWT is judged before the transaction, since its keys may come from the network. It is stored nowhere.

A trial says which rules of a trust a sample token meets, without signing in.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

from auditlog.context import disable_auditlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from audit_app.recording.refusals import refuse
from core.canonical_json import Json
from environments_app.authorization.policy import Principal, require
from environments_app.authorization.principals import grants_on, token_bearer
from environments_app.authorization.rows import isoformat, lock_authentic
from environments_app.errors import (
    InvalidField,
    Invisible,
    JwtRefused,
    KeysUnavailable,
    Tampered,
    TooManyTokens,
)
from environments_app.models import ServiceToken, Trust, UsedJwt
from environments_app.tokens.authentication import is_from
from environments_app.tokens.service import set_secret
from environments_app.trusts.definition import preset_of, rules_of, source_of
from environments_app.trusts.jwt.document import BadJwt, Jwt, parse_jwt
from environments_app.trusts.jwt.rules import (
    LEEWAY_SECONDS,
    MAX_ID,
    Check,
    claim_texts,
    examine,
    first_failure,
    shown,
)
from environments_app.trusts.key_source import find_key

_NOTED_EVERY: Final = timedelta(minutes=1)
# Of these a stranger without a token of the issuer can cause the last alone, where the issuer is away.
_OF_THE_ISSUER: Final = frozenset(
    {
        "jwt-audience", "jwt-expired", "jwt-not-yet-valid", "jwt-too-old", "jwt-subject", "jwt-no-id",
        "jwt-claim", "jwt-replayed", "keys-unavailable",
    }
)  # fmt: skip


class SignedIn(NamedTuple):
    """A workload that signed in: its token, and the text of it, which is shown this once."""

    token: ServiceToken
    text: str
    trust: Trust
    subject: str

    def __repr__(self) -> str:
        return "SignedIn()"


class _Asked(NamedTuple):
    """What a workload asks for, and from where."""

    address: str
    request_id: str
    lifetime: timedelta | None
    details: Mapping[str, Json]


def sign_in(
    *,
    trust_name: str,
    jwt: str,
    address: str,
    request_id: str = "",
    lifetime: timedelta | None = None,
    details: Mapping[str, Json] = MappingProxyType({}),
) -> SignedIn:
    """Exchange a workload's JWT for a service token that has the lifetime of the trust, or a shorter one.

    The event holds `details` as well. Each refusal is counted by address with its reason. A JWT is judged
    before the address is: others of one network cannot keep a workload out. Raises JwtRefused;
    TooManyRefusals instead, for an address that was refused often; InvalidField for a lifetime beyond that
    of the trust; KeysUnavailable; TooManyTokens.
    """
    try:
        return _signed_in(trust_name, jwt, _Asked(address, request_id, lifetime, details))
    except JwtRefused as error:
        refuse(kind=error.reason, address=address)
        raise


def valid_tokens(trust: Trust) -> QuerySet[ServiceToken]:
    """Return the tokens of a trust that still open something; their number is limited.

    A workload that signs in without end cannot fill the database by them.
    """
    return ServiceToken.objects.filter(
        trust_uuid=trust.uuid,
        expires_at__gt=timezone.now(),
        revoked_at=None,
        created_at__gte=trust.valid_from,
    )


def sign_in_checks(trust: Trust, jwt: Jwt) -> Iterator[Check]:
    """Yield what a sign-in demands beyond the rules of a JWT, for a trial: nothing is used up or stored."""
    live = trust.is_live and bool(verified_rows([trust])) and bool(verified_rows([trust.environment]))
    yield Check("trust-ended", "trust", live, "enabled", "enabled" if live else "disabled or ended")
    pinned = preset_of(trust).pinned
    if pinned and not trust.pinned and pinned not in trust.claims:
        owner = next(iter(claim_texts(jwt.claims, pinned)), "")
        yield Check("jwt-claim", pinned, 1 <= len(owner) <= MAX_ID, "a value", shown(owner or None))
    if trust.single_use and isinstance(jwt.claims.get("jti"), str):
        used = UsedJwt.objects.filter(digest=_digest(trust, jwt)).exists()
        yield Check("jwt-replayed", "single use", not used, "not used before", "used" if used else "")
    tokens = valid_tokens(trust).count()
    limit = settings.KEEPER_TRUST_MAX_TOKENS
    yield Check("too-many-tokens", "valid tokens", tokens < limit, f"fewer than {limit}", str(tokens))


def purge_used_jwts() -> int:
    """Forget tokens that could not be used again anyway; return how many."""
    return UsedJwt.objects.filter(until__lt=timezone.now()).delete()[0]


def _signed_in(trust_name: str, text: str, asked: _Asked) -> SignedIn:
    trust = _trust(trust_name)
    try:
        jwt = parse_jwt(text)
    except BadJwt as error:
        raise JwtRefused(error.reason) from error
    if not is_from(asked.address, trust.cidrs):
        raise JwtRefused("jwt-from-elsewhere")
    rules = rules_of(trust)
    # Nothing is fetched for a token that names another algorithm, key or issuer anyway.
    known = jwt.algorithm == rules.algorithm and jwt.key_id and jwt.claims.get("iss") == rules.issuer
    try:
        key = find_key(source_of(trust), algorithm=rules.algorithm, kid=jwt.key_id) if known else None
    except KeysUnavailable:
        _note_refusal(trust, "keys-unavailable")
        raise
    failed = first_failure(jwt, rules, key, now=time.time())
    if failed is not None:
        _note_refusal(trust, failed.reason)
        raise JwtRefused(failed.reason)
    if asked.lifetime and asked.lifetime > timedelta(minutes=trust.lifetime_minutes):
        raise InvalidField("lifetime", f"This trust gives {trust.lifetime_minutes} minutes at most.")
    if valid_tokens(trust).count() >= settings.KEEPER_TRUST_MAX_TOKENS:
        raise TooManyTokens(retry_after=60)
    try:
        return _store(trust, jwt, asked)
    except JwtRefused as error:
        _note_refusal(trust, error.reason)
        raise


def _trust(name: str) -> Trust:
    """Return the trust of a name that lets workloads sign in. Raises JwtRefused."""
    trust = Trust.objects.select_related("environment").filter(name=name[:MAX_ID]).first()
    if trust is None:
        raise JwtRefused("trust-unknown")
    if trust.environment.deleted_at is not None:
        raise JwtRefused("trust-of-deleted-environment")
    if not verified_rows([trust]) or not verified_rows([trust.environment]):
        raise JwtRefused("trust-forged")
    if not trust.is_live:
        raise JwtRefused("trust-ended")
    return trust


def _store(trust: Trust, jwt: Jwt, asked: _Asked) -> SignedIn:
    """Use up the JWT, and store and record the token, all or nothing. Raises JwtRefused.

    The trust is asked again under its lock: the keys may have taken seconds, and a token that begins after a
    change would outlive what the change took away.
    """
    now = timezone.now()
    ends = now + (asked.lifetime or timedelta(minutes=trust.lifetime_minutes))
    token = ServiceToken(
        environment=trust.environment,
        role=trust.role,
        name=trust.name,
        prefix=trust.prefix,
        cidrs=trust.cidrs,
        expires_at=min(ends, trust.expires_at) if trust.expires_at else ends,
        trust_uuid=trust.uuid,
    )
    text = set_secret(token)
    try:
        with lock_authentic(trust) as stored:
            if not stored.is_live or stored.valid_from != trust.valid_from:
                raise JwtRefused("trust-ended")
            if trust.single_use:
                _use(trust, jwt)
            rows: list[ServiceToken | Trust] = [token]
            if pinned := _to_pin(trust, jwt):
                rows.append(_pin(trust, pinned))
            # The sign-in is its record: the history of configuration holds what people set up.
            with disable_auditlog():
                token.save(force_insert=True)
            _record(trust, jwt, token, rows, asked)
    except Tampered as error:
        raise JwtRefused("trust-forged") from error
    except Invisible as error:
        raise JwtRefused("trust-ended") from error
    _note_use(trust)
    return SignedIn(token, text, trust, jwt.claims["sub"])


def _use(trust: Trust, jwt: Jwt) -> None:
    """Use up a JWT; a second sign-in with it waits for this one. Raises JwtRefused."""
    until = datetime.fromtimestamp(float(jwt.claims["exp"]), UTC) + timedelta(seconds=2 * LEEWAY_SECONDS)
    try:
        with transaction.atomic():
            UsedJwt.objects.create(digest=_digest(trust, jwt), until=until)
    except IntegrityError as error:
        raise JwtRefused("jwt-replayed") from error


def _digest(trust: Trust, jwt: Jwt) -> str:
    return hashlib.sha256(f"{trust.issuer}\n{jwt.claims['jti']}".encode()).hexdigest()


def _to_pin(trust: Trust, jwt: Jwt) -> str:
    """Return what must be stored of the claim that the preset pins, "" for nothing."""
    name = preset_of(trust).pinned
    if not name or trust.pinned or name in trust.claims:
        return ""
    texts = claim_texts(jwt.claims, name)
    if not texts or len(texts[0]) > MAX_ID:
        raise JwtRefused("jwt-claim")
    return texts[0]


def _pin(trust: Trust, value: str) -> Trust:
    """Store the first value of a claim. Raises JwtRefused if another sign-in has stored another one."""
    with lock_authentic(trust) as stored:
        if stored.pinned not in {"", value}:
            raise JwtRefused("jwt-claim")
        stored.pinned = value
        stored.save(update_fields=["pinned"])
    return stored


def _record(
    trust: Trust, jwt: Jwt, token: ServiceToken, rows: list[ServiceToken | Trust], asked: _Asked
) -> None:
    """Record a sign-in as what the token did first, with the claims that identify the workload."""
    record(
        actor=token_bearer(token, grants_on(token), address=asked.address, request_id=asked.request_id),
        action=Action.TRUST_SIGN_IN,
        stream=environment_stream(trust.environment.uuid),
        object=AuditObject("trust", trust.uuid, trust.name),
        details={
            "environment": trust.environment.name,
            "role": token.role,
            "prefix": token.prefix,
            "expires_at": isoformat(token.expires_at),
            "claims": _claims(trust, jwt),
            **asked.details,
            **row_digest_entry(*rows),
        },
    )


def _claims(trust: Trust, jwt: Jwt) -> dict[str, Json]:
    names = ("iss", "sub", "jti", *trust.claims, *preset_of(trust).recorded)
    claims = {name: claim_texts(jwt.claims, name) for name in dict.fromkeys(names)}
    return {name: shown(", ".join(texts)) for name, texts in claims.items() if texts}


def _note_use(trust: Trust) -> None:
    now = timezone.now()
    if trust.last_used_at is None or trust.last_used_at <= now - _NOTED_EVERY:
        Trust.objects.filter(pk=trust.pk).update(last_used_at=now)


def _note_refusal(trust: Trust, reason: str) -> None:
    """Show on the trust's page what a token of its issuer failed, at most once a minute."""
    now = timezone.now()
    if reason not in _OF_THE_ISSUER:
        return
    if trust.last_refused_at is None or trust.last_refused_at <= now - _NOTED_EVERY:
        Trust.objects.filter(pk=trust.pk).update(last_refused_at=now, last_refusal=reason)


class Trial(NamedTuple):
    """What came of a trial: why the text is no token, or each rule in turn."""

    problem: str
    checks: list[Check]

    @property
    def passed(self) -> bool:
        """Whether a workload with this token could sign in now from a network of the trust."""
        return not self.problem and all(check.passed for check in self.checks)


def try_token(*, actor: Principal, trust: Trust, jwt: str) -> Trial:
    """Return which rules of a trust a sample token meets; it is stored nowhere, and uses nothing up.

    Raises Invisible or Forbidden, and KeysUnavailable, which names the cause.
    """
    require(actor=actor, action=Action.TRUST_TEST, environment=trust.environment)
    trial = _tried(trust, jwt.strip())
    checks = [check.rule for check in trial.checks if not check.passed]
    failed: list[Json] = [trial.problem] if trial.problem else [*checks]
    with transaction.atomic():
        record(
            actor=actor,
            action=Action.TRUST_TEST,
            stream=environment_stream(trust.environment.uuid),
            object=AuditObject("trust", trust.uuid, trust.name),
            details={"passed": trial.passed, "failed": failed},
        )
    return trial


def _tried(trust: Trust, text: str) -> Trial:
    try:
        jwt = parse_jwt(text)
    except BadJwt as error:
        return Trial(error.reason, [])
    key = find_key(source_of(trust), algorithm=trust.algorithm, kid=jwt.key_id) if jwt.key_id else None
    return Trial("", [*examine(jwt, rules_of(trust), key, now=time.time()), *sign_in_checks(trust, jwt)])
