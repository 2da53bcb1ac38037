"""Service tokens: issuing, finding and revoking them.

A token reads `kpr_<public id>_<secret>`: 128 and 256 random bits in URL-safe base64. Only a
peppered HMAC-SHA256 of the secret is stored: a password hash would cost every call dearly and
add nothing to 256 random bits.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from ipaddress import ip_network
from typing import Final

from django.conf import settings
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject, EventDraft
from core.canonical_json import Json
from environments_app.approvals.access_proposals import issuing
from environments_app.approvals.broken_glass import record_breaking
from environments_app.approvals.gate import require_approval
from environments_app.authorization.break_glass import confirm_grant, opens_values
from environments_app.authorization.policy import Principal, require, require_confirmed, require_unsuspended
from environments_app.authorization.rows import clean_fields, isoformat, require_future
from environments_app.environments.memberships import acting_user
from environments_app.errors import InvalidField, Invisible
from environments_app.models import Environment, Role, ServiceToken, TokenRole, User
from environments_app.names import refuse_reserved, validate_prefix
from environments_app.notifications.service import DECOY, resolve_alert
from environments_app.sessions.service import lock_actor
from environments_app.tokens.peppers import give_secret

_MAX_CIDRS: Final = 50


class Lifetime(Enum):
    """The default lifetime of a token."""

    DEFAULT = "default"


def issue(
    *,
    actor: Principal,
    environment: Environment | None,
    role: str,
    name: str,
    prefix: str = "",
    cidrs: Sequence[str] = (),
    expires_at: datetime | Lifetime | None = Lifetime.DEFAULT,
    decoy: bool = False,
) -> tuple[ServiceToken, str]:
    """Issue a token and return it with its text, which is shown this once and kept nowhere.

    Without an expiry it lives for KEEPER_TOKEN_DEFAULT_DAYS; None is without an end, where
    KEEPER_TOKEN_MAX_DAYS allows that.

    A decoy opens nothing, whatever its role, and each use of it raises an alert; it takes no approval.
    Role admin goes with no environment, every other role with one. An administrator who makes one
    that reads values is recorded as breaking the glass.
    Raises Invisible, Forbidden, ConfirmationNeeded, Suspended, InvalidField, BadName, or
    ApprovalNeeded.
    """
    require(actor=actor, action=Action.TOKEN_ISSUE, environment=environment)
    require_confirmed(actor)
    token = ServiceToken(
        environment=environment,
        role=_token_role(role, environment),
        name=name,
        prefix=_token_prefix(prefix, environment),
        cidrs=normalize_cidrs(cidrs),
        expires_at=None if decoy else allowed_expiry(expires_at),
        created_by=person_behind(actor),
        decoy=decoy or None,
    )
    if decoy:
        if environment is None:
            raise InvalidField("decoy", "A decoy belongs to an environment, whose managers get its alerts.")
        token.role, token.prefix, token.cidrs = TokenRole(Role.VIEWER), "", []
    require_token_name(name)
    clean_fields(token, ["name"])
    if environment is None:
        # An administering token can perform break-glass acts like its issuer, and outlives a suspension.
        require_unsuspended(actor, Action.TOKEN_ISSUE)
    confirm_grant(actor, Action.TOKEN_ISSUE, environment=environment, role=token.role)
    lasting = "default" if expires_at is Lifetime.DEFAULT else isoformat(token.expires_at)
    approval = (
        require_approval(actor=actor, proposal=issuing(token, environment, lasting=lasting))
        if environment and not decoy
        else None
    )
    text = set_secret(token)
    with lock_actor(actor, Action.TOKEN_ISSUE, environment):
        approved = approval.consume(environment, actor=actor) if approval and environment else {}
        token.save()
        record_token(actor, Action.TOKEN_ISSUE, token, approved)
    return token, text


def person_behind(actor: Principal) -> User | None:
    """Return the person who acts, or who issued the token that does: either has seen what is issued."""
    if actor.kind is not ActorKind.TOKEN:
        return acting_user(actor)
    token = ServiceToken.objects.select_related("created_by").filter(uuid=actor.uuid).first()
    return token.created_by if token else None


def allowed_expiry(given: datetime | Lifetime | None) -> datetime | None:
    """Return when a new token ends. Raises InvalidField if that is past, or beyond the longest allowed."""
    now, longest = timezone.now(), settings.KEEPER_TOKEN_MAX_DAYS
    if given is Lifetime.DEFAULT:
        days = settings.KEEPER_TOKEN_DEFAULT_DAYS or longest
        days = min(days, longest) if longest else days
        return now + timedelta(days=days) if days else None
    # A minute for the clock of the caller.
    last = now + timedelta(days=longest, minutes=1)
    if longest and (given is None or require_future(given) > last):  # type: ignore[operator]  # a time comes back as one
        raise InvalidField("expires_at", f"A token lives for {longest} days at most here.")
    return require_future(given)


def revoke(*, actor: Principal, token: ServiceToken) -> None:
    """End a token at once; one that is revoked stays so.

    A forged row is ended too: it never opened anything, and its MAC stays wrong.
    Raises Invisible or Forbidden.
    """
    require(actor=actor, action=Action.TOKEN_REVOKE, environment=token.environment)
    with lock_actor(actor, Action.TOKEN_REVOKE, token.environment):
        stored = ServiceToken.objects.select_for_update().get(pk=token.pk)
        if stored.revoked_at is not None:
            return
        genuine = stored.is_authentic()
        stored.revoked_at = timezone.now()
        if genuine:
            stored.save(update_fields=["revoked_at"])
        else:
            ServiceToken.objects.filter(pk=stored.pk).update(revoked_at=stored.revoked_at)
        record_token(actor, Action.TOKEN_REVOKE, stored)
        if stored.decoy:
            resolve_alert(kinds=[DECOY], about=stored.uuid, subject=f"Decoy token revoked: {stored.name}")


def find_token(*, actor: Principal, environment: Environment | None, id: int) -> ServiceToken:
    """Return a token of an environment (None: of the installation), genuine or not.

    Raises Forbidden, or Invisible if there is none of this id.
    """
    require(actor=actor, action=Action.TOKEN_VIEW, environment=environment)
    rows = ServiceToken.objects.select_related("environment", "created_by")
    token = rows.filter(pk=id, environment=environment).first()
    if token is None:
        raise Invisible("There is no such token.")
    return token


def normalize_cidrs(cidrs: Sequence[str]) -> list[str]:
    """Return networks in their one spelling. Raises InvalidField."""
    if len(cidrs) > _MAX_CIDRS:
        raise InvalidField("cidrs", f"Enter at most {_MAX_CIDRS} networks.")
    try:
        return [str(ip_network(cidr)) for cidr in cidrs]
    except ValueError as error:
        raise InvalidField("cidrs", "Enter networks such as 10.0.0.0/8 or 2001:db8::/32.") from error


def _token_role(text: str, environment: Environment | None) -> TokenRole:
    # A provisioner is a token of a SCIM client, which issues it (`scim_clients`).
    choices = [TokenRole.ADMIN] if environment is None else [TokenRole(role) for role in Role]
    if text not in choices:
        raise InvalidField("role", f"Choose one of {', '.join(choices)}.")
    return TokenRole(text)


def _token_prefix(text: str, environment: Environment | None) -> str:
    if text and environment is None:
        raise InvalidField("prefix", "A token that administers has no prefix.")
    return validate_prefix(text)


def require_token_name(name: str) -> str:
    """Return a token's name unchanged. Raises InvalidField."""
    if not name.isprintable() or name != name.strip():
        raise InvalidField("name", "Use printable characters, without spaces at the ends.")
    refuse_reserved(name, field="name")
    return name


def set_secret(token: ServiceToken) -> str:
    """Give a token a new secret, of which it keeps the hash, and return its text."""
    secret = give_secret(token)
    return f"kpr_{token.public_id}_{secret}"


def record_token(
    actor: Principal, action: Action, token: ServiceToken, approved: dict[str, Json] | None = None
) -> None:
    """Record a change of a token, in its transaction; one that breaks the glass alerts."""
    environment = token.environment
    draft = EventDraft(
        actor=actor,
        action=action,
        stream=streams.environment_stream(environment.uuid) if environment else streams.SYSTEM,
        object=AuditObject("token", token.uuid, token.name),
        details={
            "environment": environment.name if environment else None,
            "role": token.role,
            "prefix": token.prefix,
            "cidrs": list(token.cidrs),
            "expires_at": isoformat(token.expires_at),
            **({"decoy": True} if token.decoy else {}),
            **(approved or {}),
            **row_digest_entry(token),
        },
    )
    breaks_glass = action is Action.TOKEN_ISSUE and opens_values(
        actor, action, environment_id=token.environment_id, role=token.role
    )
    record_breaking(draft, breaks_glass=breaks_glass, places=[environment] if environment else [])
