"""Use cases of memberships: granting, changing and revoking roles in an environment."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_state import row_digest_entry, state_digest
from audit_app.recording.drafts import AuditObject, EventDraft
from core.canonical_json import Json
from environments_app.approvals.access_proposals import changing_membership, granting, widens
from environments_app.approvals.broken_glass import record_breaking
from environments_app.approvals.gate import (
    ApprovalGrant,
    needs_second_person,
    require_approval,
    system_approval,
)
from environments_app.authorization.break_glass import confirm_grant, opens_values
from environments_app.authorization.policy import Principal, require
from environments_app.authorization.rows import isoformat, require_future, set_fields
from environments_app.errors import AlreadyGranted, Conflict, InvalidField, Invisible, LastManager
from environments_app.models import (
    Departure,
    DepartureKind,
    Environment,
    GroupMember,
    Membership,
    Role,
    Source,
    User,
)
from environments_app.names import validate_prefix
from environments_app.sessions.service import lock_actor, lock_row

BY_SINGLE_SIGN_ON: Final = (
    "This access comes from single sign-on. Change the group mapping, or grant another role."
)
_MEANWHILE: Final = "This access has changed. Reload the page and try again."
_TAKES_AWAY: Final = frozenset({Action.MEMBER_REVOKE, Action.MEMBER_EXPIRE})


def grant(
    *,
    actor: Principal,
    environment: Environment,
    user: User | None = None,
    group: Group | None = None,
    role: str,
    prefix: str = "",
    expires_at: datetime | None = None,
) -> Membership:
    """Give a user or a group a role in an environment, perhaps for a prefix and a time only.

    An administrator who grants access to values performs a break-glass act.
    Raises Invisible, Forbidden, ConfirmationNeeded, Suspended (to break the glass), InvalidField,
    BadName, AlreadyGranted if there is such a membership, Conflict for a disabled account where it would be
    a request, or ApprovalNeeded.
    """
    require(actor=actor, action=Action.MEMBER_GRANT, environment=environment)
    if (user is None) == (group is None):
        raise InvalidField("user", "Choose a person or a group.")
    membership = Membership(
        environment=environment,
        user=user,
        group=group,
        role=parse_role(role),
        prefix=validate_prefix(prefix),
        expires_at=require_future(expires_at),
        granted_by=acting_user(actor),
    )
    confirm_grant(actor, Action.MEMBER_GRANT, environment=environment, role=membership.role)
    _require_no_duplicate(actor, membership, prefix=membership.prefix)
    if user and not user.is_active and needs_second_person(actor, environment) and actor.approval is None:
        raise Conflict(f"The account of {user.username} is disabled. Enable it first.")
    approval = require_approval(actor=actor, proposal=granting(membership))
    with lock_actor(actor, Action.MEMBER_GRANT, environment, people=[user] if user else []):
        return store(actor=actor, membership=membership, approval=approval)


def store(
    *,
    actor: Principal,
    membership: Membership,
    approval: ApprovalGrant,
    state: str = "",
    details: Mapping[str, Json] | None = None,
) -> Membership:
    """Store a membership that was allowed; `details` is added to its event, and `state` as in `consume`.

    Raises AlreadyGranted if there is one for the holder and prefix.
    """
    try:
        with transaction.atomic():
            approved = approval.consume(membership.environment, actor=actor, state=state)
            membership.save()
            _record(actor, Action.MEMBER_GRANT, membership, {**approved, **(details or {})})
    except IntegrityError as error:
        raise (_standing(membership, prefix=membership.prefix) or Conflict(_MEANWHILE)) from error
    return membership


def change_membership(*, actor: Principal, membership: Membership, **changes: Any) -> Membership:
    """Change the role, prefix or expiry of a membership and return it as stored.

    Raises Invisible, Forbidden, InvalidField, BadName, AlreadyGranted for the prefix of another one,
    Conflict, LastManager, Tampered, ConfirmationNeeded for a role that reads values, Suspended (to break
    the glass), or ApprovalNeeded if it widens access to a protected environment.
    """
    require(actor=actor, action=Action.MEMBER_CHANGE, environment=membership.environment)
    for name in changes.keys() - {"role", "prefix", "expires_at"}:
        raise InvalidField(name, "This field can't be changed.")
    if "role" in changes:
        changes["role"] = parse_role(changes["role"])
    if "prefix" in changes:
        changes["prefix"] = validate_prefix(changes["prefix"])
    if "expires_at" in changes:
        require_future(changes["expires_at"])
    if membership.source == Source.SAML:
        raise Conflict(BY_SINGLE_SIGN_ON)
    role = changes.get("role") or membership.role
    confirm_grant(actor, Action.MEMBER_CHANGE, environment=membership.environment, role=role)
    if "prefix" in changes:
        _require_no_duplicate(actor, membership, prefix=changes["prefix"])
    needs = _needs_approval(actor, membership, changes)
    proposal = changing_membership(membership, changes) if needs else None
    approval = require_approval(actor=actor, proposal=proposal) if proposal is not None else None
    try:
        with lock_row(actor, membership, Action.MEMBER_CHANGE, membership.environment) as stored:
            if approval is None and _needs_approval(actor, stored, changes):
                raise Conflict(_MEANWHILE)
            approved = (
                approval.consume(stored.environment, actor=actor, state=state_digest(stored))
                if approval
                else {}
            )
            _change(actor, stored, changes, approved)
    except IntegrityError as error:
        prefix = changes.get("prefix", membership.prefix)
        raise (_standing(membership, prefix=prefix) or Conflict(_MEANWHILE)) from error
    return stored


def revoke_membership(*, actor: Principal, membership: Membership) -> None:
    """Take a membership away; also a forged one, which must be removable.

    Raises Invisible, Forbidden, or LastManager.
    """
    require(actor=actor, action=Action.MEMBER_REVOKE, environment=membership.environment)
    holder = [membership.user] if membership.user else []
    with lock_actor(actor, Action.MEMBER_REVOKE, membership.environment, people=holder):
        _require_another_manager(membership)
        _record(actor, Action.MEMBER_REVOKE, membership)
        membership.delete()


def grant_from_sso(
    *,
    actor: Principal,
    environment: Environment,
    user: User,
    role: Role,
    prefix: str,
    suspended_at: datetime | None = None,
) -> Membership:
    """Grant a role from single sign-on, in the caller's transaction; `withdraw` removes it.

    With `suspended_at` it shows only names, until a manager confirms the mapping.
    """
    membership = Membership(
        environment=environment,
        user=user,
        role=role,
        prefix=prefix,
        source=Source.SAML,
        suspended_at=suspended_at,
    )
    # What groups grant in a protected environment was approved with their mapping.
    return store(actor=actor, membership=membership, approval=system_approval(actor, environment))


def withdraw(*, actor: Principal, membership: Membership, action: Action = Action.MEMBER_REVOKE) -> None:
    """Remove a role that single sign-on no longer grants, or that expired, in the caller's transaction.

    Unlike a person's revocation it may leave an environment without a manager: a user who lost the group
    must lose the access, and administrators can grant it again.
    """
    _record(actor, action, membership)
    membership.delete()


def note_move(*, actor: Principal, user: User) -> None:
    """Have a worker look up what a person knows who lost access in the caller's transaction."""
    if not user.is_active:
        return
    ended_by = {"ended_by_kind": actor.kind, "ended_by_uuid": actor.uuid, "ended_by_name": actor.name}
    row, is_new = Departure.objects.get_or_create(
        user=user, kind=DepartureKind.MOVED, open=True, defaults=ended_by
    )
    # A forged row is left to the integrity checks: it must keep nobody from losing access.
    if not is_new and row.is_authentic():
        row.at = timezone.now()
        row.save(update_fields=["at"])


def note_moves(*, actor: Principal, users: Collection[User]) -> None:
    """Do what `note_move` does for many people, in three statements."""
    open_rows = Departure.objects.filter(
        user__in=users, user__is_active=True, kind=DepartureKind.MOVED, open=True
    )
    known = {row.user_id: row for row in open_rows.select_related("user")}
    Departure.objects.bulk_create(
        Departure(
            user=user, kind=DepartureKind.MOVED,
            ended_by_kind=actor.kind, ended_by_uuid=actor.uuid, ended_by_name=actor.name,
        )
        for user in users
        if user.is_active and user.pk not in known
    )  # fmt: skip
    # A forged row is left to the integrity checks, as above.
    genuine = [row for row in known.values() if row.is_authentic()]
    for row in genuine:
        row.at = timezone.now()
        row.seal_row()
    Departure.objects.bulk_update(genuine, ["at", "row_mac"])


def find_membership(*, actor: Principal, environment: Environment, id: int) -> Membership:
    """Return a membership of an environment, genuine or not.

    Raises Forbidden, or Invisible if the environment has none of this id.
    """
    require(actor=actor, action=Action.MEMBER_VIEW, environment=environment)
    rows = environment.memberships.select_related("environment", "user", "group", "granted_by")
    membership = rows.filter(pk=id).first()
    if membership is None:
        raise Invisible("There is no such membership.")
    return membership


def acting_user(actor: Principal) -> User | None:
    """Return the person who acts, if it is one."""
    return User.objects.filter(uuid=actor.uuid).first() if actor.kind is ActorKind.USER else None


def parse_role(text: str) -> Role:
    """Return the role of this name. Raises InvalidField."""
    try:
        return Role(text)
    except ValueError as error:
        raise InvalidField("role", f"Choose one of {', '.join(Role.values)}.") from error


def _require_no_duplicate(actor: Principal, membership: Membership, *, prefix: str) -> None:
    """Raise AlreadyGranted before requesting an approval of an act that could not be executed."""
    other = _standing(membership, prefix=prefix)
    # The approved act is compared with the approval first.
    if other and actor.approval is None:
        raise other


def _standing(membership: Membership, *, prefix: str) -> AlreadyGranted | None:
    """Return what refuses a second membership of the holder for this prefix, if there is one."""
    same: dict[str, Any] = {"environment": membership.environment, "prefix": prefix}
    if membership.group:
        same["group"] = membership.group
    else:
        same |= {"user": membership.user, "source": membership.source}
    other = Membership.objects.filter(**same).exclude(pk=membership.pk).first()
    if other is None:
        return None
    return AlreadyGranted(environment=membership.environment.name, membership=other.pk)


def _needs_approval(actor: Principal, membership: Membership, changes: dict[str, Any]) -> bool:
    return needs_second_person(actor, membership.environment) and widens(membership, changes)


def _change(actor: Principal, stored: Membership, changes: dict[str, Any], approved: dict[str, Json]) -> None:
    manages = {"role": stored.role, "prefix": stored.prefix} | changes
    if changes.get("expires_at") or manages["role"] != Role.MANAGER or manages["prefix"]:
        _require_another_manager(stored)
    changed = set_fields(stored, changes)
    if changed:
        stored.save(update_fields=changed)
        _record(actor, Action.MEMBER_CHANGE, stored, approved)


def _require_another_manager(membership: Membership) -> None:
    """Raise LastManager if the environment would have no manager without this membership."""
    # The lock lets two managers not remove each other at the same time.
    Environment.objects.select_for_update().get(pk=membership.environment_id)
    whole = Q(environment_id=membership.environment_id, role=Role.MANAGER, prefix="")
    rows = Membership.objects.filter(whole).select_related("environment", "user", "group")
    managing = [row for row in rows if _manages(row)]
    if any(row.pk == membership.pk for row in managing) and len(managing) == 1:
        raise LastManager("An environment needs at least one manager. Add another one first.")


def _manages(membership: Membership) -> bool:
    # A temporary manager would leave the environment without one at the end.
    if membership.expires_at is not None or not membership.is_authentic():
        return False
    if membership.user:
        return membership.user.is_active
    return GroupMember.objects.filter(group=membership.group, user__is_active=True).exists()


def _record(
    actor: Principal, action: Action, membership: Membership, approved: dict[str, Json] | None = None
) -> None:
    environment = membership.environment
    draft = EventDraft(
        actor=actor,
        action=action,
        stream=environment_stream(environment.uuid),
        object=AuditObject("membership", membership.uuid, membership.holder),
        details={
            "environment": environment.name,
            "role": membership.role,
            "prefix": membership.prefix,
            "expires_at": isoformat(membership.expires_at),
            **({"source": membership.source} if membership.source else {}),
            **({"suspended": True} if membership.suspended_at else {}),
            **(approved or {}),
            **row_digest_entry(membership, gone=action in _TAKES_AWAY),
        },
    )
    breaks_glass = action not in _TAKES_AWAY and opens_values(
        actor, action, environment_id=membership.environment_id, role=membership.role
    )
    record_breaking(draft, breaks_glass=breaks_glass, places=[environment])
