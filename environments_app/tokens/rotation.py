"""Changes of valid service tokens: narrowing them, and replacing their secret without a gap."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.row_state import state_digest
from core.network.client_address import are_within
from environments_app.approvals.access_proposals import rotating
from environments_app.approvals.gate import require_approval
from environments_app.authorization.break_glass import confirm_grant
from environments_app.authorization.policy import Principal, require, require_confirmed, require_unsuspended
from environments_app.authorization.rows import require_future, set_fields
from environments_app.environments.memberships import parse_role
from environments_app.errors import Conflict, InvalidField
from environments_app.models import ServiceToken, TokenRole
from environments_app.names import validate_prefix
from environments_app.sessions.service import lock_row
from environments_app.tokens.service import normalize_cidrs, person_behind, record_token, set_secret

DEFAULT_OVERLAP: Final = timedelta(days=1)
MAX_OVERLAP: Final = timedelta(days=30)


def narrow(*, actor: Principal, token: ServiceToken, **changes: Any) -> ServiceToken:
    """Take something from a token: role, prefix, networks, expiry; return it as stored.

    A wider value is refused: the holder of its secret must not gain rights by a change. Raises Invisible,
    Forbidden, InvalidField, BadName, Tampered, or Conflict if it has ended.
    """
    require(actor=actor, action=Action.TOKEN_CHANGE, environment=token.environment)
    for name in changes.keys() - LESS.keys():
        raise InvalidField(name, "This field can't be changed.")
    with lock_row(actor, token, Action.TOKEN_CHANGE, token.environment) as stored:
        _require_live(stored)
        changed = set_fields(stored, {name: LESS[name](stored, value) for name, value in changes.items()})
        if changed:
            stored.save(update_fields=changed)
            record_token(actor, Action.TOKEN_CHANGE, stored)
    return stored


def rotate(
    *, actor: Principal, token: ServiceToken, overlap: timedelta = DEFAULT_OVERLAP
) -> tuple[ServiceToken, str]:
    """Issue the successor of a token and return it with its text, which is shown this once.

    Both are valid for the overlap; then the old one ends. The new one has the same rights and lifetime,
    limited by KEEPER_TOKEN_MAX_DAYS. An administrator who thereby gets a token that reads values performs a
    break-glass act. Raises Invisible, Forbidden, ConfirmationNeeded, Suspended, InvalidField, Tampered,
    ApprovalNeeded, or Conflict if it has ended or has a successor already.
    """
    for action in (Action.TOKEN_ISSUE, Action.TOKEN_CHANGE):
        require(actor=actor, action=action, environment=token.environment)
    require_confirmed(actor)
    if token.role == TokenRole.PROVISIONER:
        # Who holds one makes and ends accounts, which a token that administers may not.
        require(actor=actor, action=Action.SCIM_CLIENT_CHANGE, environment=None)
    if token.environment is None:
        require_unsuspended(actor, Action.TOKEN_ISSUE)
    confirm_grant(actor, Action.TOKEN_ISSUE, environment=token.environment, role=token.role)
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise InvalidField("overlap_seconds", f"Enter 0 to {MAX_OVERLAP.days} days.")
    environment = token.environment
    approval = (
        require_approval(actor=actor, proposal=rotating(token, environment, overlap=overlap))
        if environment
        else None
    )
    right = Action.SCIM_CLIENT_CHANGE if token.role == TokenRole.PROVISIONER else Action.TOKEN_ISSUE
    with lock_row(actor, token, right, environment) as old:
        approved = (
            approval.consume(environment, actor=actor, state=state_digest(old))
            if approval and environment
            else {}
        )
        _require_live(old)
        if old.trust_uuid is not None:
            raise Conflict("This token belongs to a workload, which signs in again for a new one.")
        if old.parent_uuid is not None:
            raise Conflict("This token was made by another one, which makes a new one.")
        if old.successors.exists():
            raise Conflict("This token was already rotated. Rotate or revoke the new one.")
        new = _successor(actor, old)
        text = set_secret(new)
        new.save()
        last = timezone.now() + overlap
        old.expires_at = min(old.expires_at or last, last)
        old.save(update_fields=["expires_at"])
        record_token(actor, Action.TOKEN_CHANGE, old)
        record_token(actor, Action.TOKEN_ISSUE, new, approved)
    return new, text


def _successor(actor: Principal, old: ServiceToken) -> ServiceToken:
    longest = settings.KEEPER_TOKEN_MAX_DAYS
    lifetime = old.expires_at - old.created_at if old.expires_at else None
    if longest:
        lifetime = min(lifetime or timedelta(days=longest), timedelta(days=longest))
    return ServiceToken(
        environment=old.environment,
        role=old.role,
        name=old.name,
        prefix=old.prefix,
        cidrs=old.cidrs,
        expires_at=timezone.now() + lifetime if lifetime else None,
        created_by=person_behind(actor),
        replaces=old,
        scim_client_uuid=old.scim_client_uuid,
    )


def _require_live(token: ServiceToken) -> None:
    if token.decoy:
        raise Conflict("This token is a decoy, which stays as it is. Revoke it, and issue another one.")
    if not token.is_live:
        raise Conflict("This token has expired or was revoked. Issue a new one.")


def _less_role(token: ServiceToken, value: str) -> str:
    if token.environment_id is None:
        raise InvalidField("role", "A token of the installation keeps its role.")
    role = parse_role(value)
    if role.rank > parse_role(token.role).rank:
        raise InvalidField("role", "A token's permissions can only be reduced.")
    return role


def _less_prefix(token: ServiceToken, value: str) -> str:
    prefix = validate_prefix(value)
    if token.environment_id is None and prefix:
        raise InvalidField("prefix", "A token of the installation has no prefix.")
    if token.prefix and prefix != token.prefix and not prefix.startswith(f"{token.prefix}/"):
        raise InvalidField("prefix", "A token's permissions can only be reduced.")
    return prefix


def _less_networks(token: ServiceToken, value: list[str]) -> list[str]:
    cidrs = normalize_cidrs(value)
    if not are_within(cidrs, token.cidrs):
        raise InvalidField("cidrs", "A token's IP ranges can only be reduced.")
    return cidrs


def _less_time(token: ServiceToken, value: Any) -> Any:
    moment = require_future(value)
    if token.expires_at is not None and (moment is None or moment > token.expires_at):
        raise InvalidField("expires_at", "A token's expiry can only be moved earlier.")
    return moment


# A value that is more than the token has is refused by InvalidField.
LESS: Final[Mapping[str, Callable[[ServiceToken, Any], Any]]] = {
    "role": _less_role,
    "prefix": _less_prefix,
    "cidrs": _less_networks,
    "expires_at": _less_time,
}
