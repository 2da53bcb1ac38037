"""Children of service tokens: a token that its bearer makes, with less, and that ends with its parent.

A child has the environment of its parent, and no more of role, path, networks and time. Like a workload, it
is at most an editor: what it issued or changed as a manager would outlive it. It opens nothing where its
parent has ended, or has less than the child by now (`is_ended_by_parent`).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import is_ended_by_origin
from environments_app.authorization.rows import clean_fields, lock_authentic
from environments_app.errors import Conflict, Forbidden, InvalidField
from environments_app.models import ServiceToken, TrustRole
from environments_app.tokens.rotation import LESS
from environments_app.tokens.service import allowed_expiry, record_token, require_token_name, set_secret

# As Vault has it, where neither the parent nor KEEPER_TOKEN_MAX_DAYS ends before.
DEFAULT_LIFETIME: Final = timedelta(hours=768)
# What the column holds on every database.
_MAX_LEASE: Final = 2**31 - 1
_MAX_CHILDREN: Final = 1_000
# Each level costs a query at each request of the child.
_MAX_LEVELS: Final = 4


def issue_child(
    *,
    actor: Principal,
    parent: ServiceToken,
    name: str = "",
    lifetime: timedelta = DEFAULT_LIFETIME,
    longest: timedelta | None = None,
    less: Mapping[str, Any],
) -> tuple[ServiceToken, str]:
    """Issue a child of the actor's own token; return it with its text, which is shown this once.

    Its bearer may prolong it (`renew_token`) up to `longest` since now; None: never. `less` has the role,
    prefix and cidrs that differ from those of the parent; the child of a manager is an editor without. A
    child that would outlive its parent ends with it.

    Raises Forbidden for any other token and one of the installation; InvalidField or BadName for more than
    the parent has; Tampered; Conflict if the parent has ended, or has a thousand children or four ancestors.
    """
    if actor.uuid != parent.uuid or parent.environment is None:
        raise Forbidden("A token of an environment makes children of itself alone.")
    with lock_authentic(parent) as stored:
        if not stored.is_live or is_ended_by_origin(stored):
            raise Conflict("This token has ended. Nothing was issued.")
        if _children(stored).count() >= _MAX_CHILDREN:
            raise Conflict(f"This token has {_MAX_CHILDREN:,} valid children. Revoke some first.")
        if _level(stored) >= _MAX_LEVELS:
            raise Conflict(f"This token is a child at level {_MAX_LEVELS}, which makes no others.")
        child = ServiceToken(
            environment=stored.environment,
            role=stored.role if stored.role in TrustRole.values else TrustRole.EDITOR,
            name=require_token_name(f"{stored.name}: {name}"[:100].rstrip() if name else stored.name),
            prefix=stored.prefix,
            cidrs=stored.cidrs,
            created_by=stored.created_by,
            parent_uuid=stored.uuid,
        )
        for field, value in less.items():
            setattr(child, field, LESS[field](stored, value))
        if child.role not in TrustRole.values:
            raise InvalidField("role", "A child is at most an editor: choose viewer, reader or editor.")
        clean_fields(child, ["name"])
        now = timezone.now()
        child.expires_at = allowed_expiry(_within(stored, now + lifetime))
        if longest is not None:
            child.renewable_until, child.lease_seconds = now + longest, _seconds(lifetime)
        text = set_secret(child)
        child.save()
        record_token(actor, Action.TOKEN_ISSUE, child, {"parent": str(stored.uuid)})
    return child, text


def family(token: ServiceToken) -> list[ServiceToken]:
    """Return a token and its valid children, and theirs."""
    found, level = [token], [token]
    for _ in range(_MAX_LEVELS):
        rows = ServiceToken.objects.filter(_standing(), parent_uuid__in=[each.uuid for each in level])
        level = list(rows.select_related("environment").order_by("pk"))
        found += level
    return found


def renew_token(*, actor: Principal, token: ServiceToken, lifetime: timedelta) -> ServiceToken:
    """Let a child end `lifetime` from now, as itself or a token that made it asks; return it as stored.

    No time is the one that it had last. It ends with its parent, and by the time that it was made with.
    Raises Conflict if it has ended or cannot be prolonged, Tampered, and Forbidden for any other bearer.
    """
    if actor.uuid not in {token.uuid, *_ancestors(token)}:
        raise Forbidden("A token prolongs itself and its children alone.")
    with lock_authentic(token) as stored:
        if not stored.is_live or is_ended_by_origin(stored):
            raise Conflict("This token has ended. Nothing was changed.")
        if stored.renewable_until is None or stored.lease_seconds is None or stored.parent_uuid is None:
            raise Conflict("This token is not renewable. Make another one.")
        stored.lease_seconds = _seconds(lifetime) or stored.lease_seconds
        ends = timezone.now() + timedelta(seconds=stored.lease_seconds)
        parent = ServiceToken.objects.get(uuid=stored.parent_uuid)
        stored.expires_at = _within(parent, min(ends, stored.renewable_until, _allowed_end(stored, ends)))
        stored.save(update_fields=["expires_at", "lease_seconds"])
        record_token(actor, Action.TOKEN_CHANGE, stored, {"renewed": True})
    return stored


def end_token(*, actor: Principal, token: ServiceToken) -> None:
    """End a token that a workload signed in for, or a child, as itself or a token that made it asks.

    Raises TypeError for any other bearer, and for a token that a person issued.
    """
    is_issued = token.trust_uuid is None and token.parent_uuid is None
    if is_issued or actor.uuid not in {token.uuid, *_ancestors(token)}:
        raise TypeError("a token ends itself, if no person issued it, and its children")
    with lock_authentic(token) as stored:
        if stored.revoked_at is None:
            stored.revoked_at = timezone.now()
            stored.save(update_fields=["revoked_at"])
            record_token(actor, Action.TOKEN_REVOKE, stored)


def _seconds(lifetime: timedelta) -> int:
    return min(int(lifetime.total_seconds()), _MAX_LEASE)


def _within(parent: ServiceToken, ends: datetime) -> datetime:
    return min(ends, parent.expires_at) if parent.expires_at else ends


def _allowed_end(token: ServiceToken, ends: datetime) -> datetime:
    """Return the last end that KEEPER_TOKEN_MAX_DAYS allows a token, however often it was prolonged."""
    longest = settings.KEEPER_TOKEN_MAX_DAYS
    return token.created_at + timedelta(days=longest) if longest else ends


def _children(token: ServiceToken) -> Any:
    return ServiceToken.objects.filter(_standing(), parent_uuid=token.uuid)


def _standing() -> Q:
    return Q(expires_at__gt=timezone.now(), revoked_at=None)


def _ancestors(token: ServiceToken) -> list[Any]:
    found: list[Any] = []
    parent = token.parent_uuid
    while parent is not None and len(found) <= _MAX_LEVELS:
        found.append(parent)
        parent = ServiceToken.objects.filter(uuid=parent).values_list("parent_uuid", flat=True).first()
    return found


def _level(token: ServiceToken) -> int:
    return len(_ancestors(token))
