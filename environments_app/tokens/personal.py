"""Use cases of personal tokens: issue one, and authenticate by one.

A token is `kpu_<22 characters>_<43 characters>`: a public id and a secret of 256 random bits, kept as the
peppered HMAC of service tokens. It ends with the sessions of its person, and is never renewed.
"""

import re
from datetime import timedelta
from typing import Final

from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.integrity.row_authentication import verified_rows
from environments_app.authorization.policy import Principal, require_confirmed
from environments_app.authorization.principals import personal_principal
from environments_app.authorization.rows import clean_fields
from environments_app.environments.service import find_environment
from environments_app.errors import BadToken, Conflict, Forbidden, InvalidField
from environments_app.models import PersonalToken, User
from environments_app.names import validate_prefix
from environments_app.sessions.service import active_tokens, lock_own, record_personal
from environments_app.tokens.authentication import check_secret, note_use
from environments_app.tokens.peppers import give_secret, hash_secret
from environments_app.tokens.request_rate import count_request
from environments_app.tokens.service import require_token_name

PREFIX: Final = "kpu_"
_TOKEN: Final = re.compile(r"kpu_([A-Za-z0-9_-]{22})_([A-Za-z0-9_-]{43})")
DEFAULT_LIFETIME: Final = timedelta(hours=12)
MAX_LIFETIME: Final = timedelta(days=7)
_MAX_TOKENS: Final = 50
_WATCHES: Final = timedelta(days=3650)


def issue_personal(
    *,
    actor: Principal,
    name: str,
    environment: str = "",
    prefix: str = "",
    lifetime: timedelta = DEFAULT_LIFETIME,
    decoy: bool = False,
) -> tuple[PersonalToken, str]:
    """Issue a token of the actor's own account; return it with its text, which is shown this once.

    A decoy opens nothing, and watches for ten years. Raises what `new_token` raises.
    """
    token = new_token(actor=actor, name=name, environment=environment, prefix=prefix, lifetime=lifetime)
    if decoy:
        token.decoy, token.expires_at = True, timezone.now() + _WATCHES
    secret = give_secret(token)
    with lock_own(actor, token.user, Action.TOKEN_ISSUE):
        store_token(actor=actor, token=token)
    return token, f"{PREFIX}{token.public_id}_{secret}"


def new_token(
    *, actor: Principal, name: str, environment: str, prefix: str, lifetime: timedelta
) -> PersonalToken:
    """Return a token of the actor's own account without its secret, not stored yet.

    `environment` and `prefix` narrow what it reaches. Raises Forbidden for all but a person's session,
    ConfirmationNeeded, Invisible, InvalidField, BadName, or Conflict if the person has too many.
    """
    if actor.kind is not ActorKind.USER or actor.scope is not None:
        raise Forbidden("Only people issue personal tokens, and not by a personal token.")
    require_confirmed(actor)
    if not timedelta(0) < lifetime <= MAX_LIFETIME:
        raise InvalidField("hours", f"Enter at most {MAX_LIFETIME.days} days.")
    place = find_environment(actor=actor, name=environment) if environment else None
    if prefix and place is None:
        raise InvalidField("prefix", "Choose the environment of this path.")
    user = User.objects.get(uuid=actor.uuid)
    if active_tokens(user).count() >= _MAX_TOKENS:
        raise Conflict(f"You have {_MAX_TOKENS} personal tokens. Revoke one first.")
    token = PersonalToken(
        user=user, environment=place, prefix=validate_prefix(prefix), name=require_token_name(name)
    )
    clean_fields(token, ["name"])
    token.expires_at = timezone.now() + lifetime
    return token


def store_token(*, actor: Principal, token: PersonalToken) -> None:
    """Store a new token and record it, in the caller's transaction."""
    token.save()
    record_personal(actor, Action.TOKEN_ISSUE, token)


def authenticate_personal(raw: str, *, address: str, request_id: str = "") -> Principal:
    """Return the person of a token, within its scope, with their rights of this moment.

    Every refusal looks the same to the caller: raises BadToken, whose reason is for the audit log, and
    TooManyRequests beyond the limit of the token.
    """
    public_id, secret = parse_personal(raw)
    token = _find(public_id)
    check_secret(token, secret)
    return _person(token, address=address, request_id=request_id)


def authenticate_personal_session(public_id: str, *, address: str, request_id: str = "") -> Principal:
    """Return the person of the token of a session that Keeper sealed, as it is now. Raises BadToken."""
    token = _find(public_id)
    # A token whose pepper is gone opens nothing, and neither does what was derived from it.
    if token is None or hash_secret("", pepper_id=token.pepper_id) is None:
        raise BadToken("unknown-token")
    return _person(token, address=address, request_id=request_id)


def parse_personal(raw: str) -> tuple[str, str]:
    """Return the public id of a token's text, and its secret. Raises BadToken."""
    match = _TOKEN.fullmatch(raw)
    if match is None:
        raise BadToken("malformed-token")
    return match[1], match[2]


def _find(public_id: str) -> PersonalToken | None:
    rows = PersonalToken.objects.select_related("user", "environment")
    return rows.filter(public_id=public_id, decoy=None).first()


def _person(token: PersonalToken | None, *, address: str, request_id: str) -> Principal:
    if token is None or not verified_rows([token]):
        raise BadToken("forged-token")
    if token.revoked_at is not None:
        raise BadToken("revoked-token")
    if token.suspended_at is not None:
        raise BadToken("suspended-token")
    if not token.is_live:
        raise BadToken("expired-token")
    if token.environment is not None and token.environment.deleted_at is not None:
        raise BadToken("token-of-deleted-environment")
    if not token.user.is_active or not verified_rows([token.user]):
        raise BadToken("disabled-account")
    count_request(token.public_id)
    note_use(token, address)
    return personal_principal(token, address=address, request_id=request_id)
