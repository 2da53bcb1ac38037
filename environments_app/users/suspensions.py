"""Accounts that another person may be able to use: their rights wait for a manager's confirmation.

An administrator who replaces a person's password or second factor could sign in as that person; one
who maps a group of the identity provider could be its member. Neither may reach values this way. What
is behind such a grant is suspended (names can be seen) until a manager of the environment,
another person, confirms it, each environment for itself.

The mark stands on the account itself and not in a row of its own: a row could be deleted.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from environments_app.approvals.gate import needs_second_person
from environments_app.approvals.one_person import way_apart
from environments_app.authorization.credential_custody import CUSTODY_DETAIL, ENDED, CustodyGraph
from environments_app.authorization.effective_access import confirmed_accounts
from environments_app.authorization.policy import Principal, record_denial, require, require_confirmed
from environments_app.authorization.rows import isoformat
from environments_app.errors import Conflict, Invisible
from environments_app.models import (
    AccessConfirmation,
    Environment,
    Membership,
    ProvisionedUser,
    SamlGroupMapping,
    User,
    UserRole,
)
from environments_app.notifications.service import raise_alert, resolve_alert
from environments_app.sessions.service import lock_other, lock_row

KIND: Final = "access-suspended"


def mark_suspended(actor: Principal, user: User) -> bool:
    """Suspend an account that `actor` could now sign in with, before it is saved; return whether.

    Keeper's own commands suspend no account: their user has the host, and with it the keys.
    """
    if actor.kind is ActorKind.SYSTEM or actor.uuid == user.uuid:
        return False
    user.suspended_at = timezone.now()
    return True


def tell_suspended(actor: Principal, user: User, cause: str = "") -> None:
    """Record a suspension in each environment where the account waits for a manager, and alert there.

    `cause` is a sentence, by default that its credentials were replaced.

    In the caller's transaction, before it records anything in the system's stream.
    """
    for environment in waiting_places(user):
        record(
            actor=actor,
            action=Action.ACCESS_SUSPEND,
            stream=environment_stream(environment.uuid),
            object=AuditObject("user", user.uuid, user.username),
            details={"environment": environment.name},
        )
        raise_alert(
            kind=KIND,
            about=_about(user.uuid, environment),
            environment=environment,
            subject=f"{environment.name}: access of {user.username} suspended",
            lines=[
                cause or f"{actor.name} replaced what {user.username} signs in with.",
                "It sees names and no values until a manager confirms that it is in its person's hands.",
            ],
            link=_page(environment),
            signature=str(isoformat(user.suspended_at)),
        )


def suspended_accounts(environment: Environment) -> list[User]:
    """Return the accounts that wait for a manager of an environment, by name."""
    within = Q(memberships__environment=environment) | Q(groups__memberships__environment=environment)
    waiting = User.objects.filter(
        within | Q(role=UserRole.ADMIN), suspended_at__isnull=False, is_active=True
    ).distinct()
    confirmed = confirmed_accounts(environment)
    return [user for user in waiting.order_by("username") if confirmed.get(user.pk) != user.suspended_at]


def awaiting_confirmation(users: QuerySet[User]) -> QuerySet[User]:
    """Return the suspended accounts that no manager has confirmed since in any environment."""
    confirmed = AccessConfirmation.objects.filter(user=OuterRef("pk"), suspended_at=OuterRef("suspended_at"))
    return users.filter(~Exists(confirmed), suspended_at__isnull=False, is_active=True)


def suspended_mappings(environment: Environment) -> QuerySet[SamlGroupMapping]:
    """Return the groups of single sign-on that wait for a manager of an environment."""
    rows = SamlGroupMapping.objects.filter(environment=environment, suspended_at__isnull=False)
    return rows.select_related("environment").order_by("group", "pk")


def confirm_account(
    *, actor: Principal, environment: Environment, user: User, since: datetime | None
) -> None:
    """Take a manager's word that an account is in its person's hands: its roles count again there.

    `since` is the suspension that the manager was shown (None: none): a later one needs another confirmation.
    Unless the manager could sign in as the account, it also ends the custody of all who could: they count as
    other people in this environment from now on.

    Raises Invisible, Forbidden, ConfirmationNeeded, Tampered, or Conflict for the account itself, for a
    program, if that suspension no longer exists, while the account has a temporary password, or was handed
    over and its person has not signed in since, if nothing waits for a confirmation, and, in a protected
    environment, for a manager who could sign in as the account.
    """
    _require_person(actor, environment)
    if actor.uuid == user.uuid:
        record_denial(actor=actor, action=Action.ACCESS_CONFIRM, environment=environment, reason="oneself")
        raise Conflict("Another manager must confirm this.")
    custody = CustodyGraph()
    both = custody.are_one(actor.uuid, [user.uuid], environment=environment)
    if both and (needs_second_person(actor, environment) or since is None):
        record_denial(
            actor=actor, action=Action.ACCESS_CONFIRM, environment=environment, reason="both people"
        )
        raise Conflict(
            "One person could sign in as you and as this account, and so be both people. "
            f"{way_apart([user], environment)}"
        )
    with lock_other(actor, user, Action.ACCESS_CONFIRM, environment) as stored:
        if stored.suspended_at != since or (since is None and not _is_held(custody, stored, environment)):
            raise Conflict("This has changed. Reload the page and try again.")
        if stored.temporary_since:
            raise Conflict(f"{stored.username} must first sign in and choose a password.")
        if (awaited := ProvisionedUser.awaiting(stored)) and awaited.handed_over_at:
            raise Conflict(f"{stored.username} must first sign in as a person of {awaited.client.name}.")
        state: dict[str, Any] = {} if both else {CUSTODY_DETAIL: ENDED}
        if since is not None:
            row = AccessConfirmation.objects.filter(environment=environment, user=stored).first()
            row = row or AccessConfirmation(environment=environment, user=stored)
            row.suspended_at, row.confirmed_by = since, User.objects.get(uuid=actor.uuid)
            row.confirmed_at = timezone.now()
            row.save()
            state |= row_digest_entry(row)
        _record_confirmation(actor, environment, AuditObject("user", user.uuid, user.username), state)
        resolve_alert(
            kinds=[KIND],
            about=_about(user.uuid, environment),
            subject=f"{environment.name}: {actor.name} confirmed access of {user.username}",
            link=_page(environment),
        )


def confirm_mapping(*, actor: Principal, mapping: SamlGroupMapping) -> SamlGroupMapping:
    """Let a group of single sign-on grant its role in full, from each member's next sign-in on.

    Raises Invisible, Forbidden, ConfirmationNeeded, Tampered, or Conflict for a program and where
    nothing waits.
    """
    environment = mapping.environment
    if environment is None:
        raise Conflict("Administrators read no values by their role; there is nothing to confirm.")
    _require_person(actor, environment)
    one = CustodyGraph().are_one(actor.uuid, [mapping.uuid], environment=environment)
    if one and needs_second_person(actor, environment):
        record_denial(
            actor=actor, action=Action.ACCESS_CONFIRM, environment=environment, reason="both people"
        )
        raise Conflict("You mapped this group, or could act as who did. Another manager must confirm it.")
    with lock_row(actor, mapping, Action.ACCESS_CONFIRM, environment) as stored:
        if stored.suspended_at is None:
            raise Conflict("This mapping is already confirmed.")
        stored.suspended_at = None
        stored.save(update_fields=["suspended_at"])
        described = AuditObject("saml-group", stored.uuid, stored.group)
        _record_confirmation(actor, environment, described, row_digest_entry(stored))
        resolve_alert(
            kinds=[KIND],
            about=stored.uuid,
            subject=f"{environment.name}: {actor.name} confirmed the group {stored.group}",
            link=_page(environment),
        )
    return stored


def tell_mapped(actor: Principal, mapping: SamlGroupMapping) -> None:
    """Alert the managers of an environment to a mapping that waits for them, in its transaction."""
    environment = mapping.environment
    if environment is None or mapping.suspended_at is None:
        return
    raise_alert(
        kind=KIND,
        about=mapping.uuid,
        environment=environment,
        subject=f"{environment.name}: single sign-on group {mapping.group} needs confirmation by a manager",
        lines=[
            f"{actor.name} mapped it to the role {mapping.role}.",
            "Its members see names and no values until a manager confirms it.",
        ],
        link=_page(environment),
    )


def find_suspended_mapping(*, actor: Principal, environment: Environment, id: int) -> SamlGroupMapping:
    """Return a mapping that waits in an environment. Raises Forbidden, or Invisible if there is none."""
    require(actor=actor, action=Action.MEMBER_VIEW, environment=environment)
    mapping = suspended_mappings(environment).filter(pk=id).first()
    if mapping is None:
        raise Invisible("There is no such mapping.")
    return mapping


def _is_held(custody: CustodyGraph, user: User, environment: Environment) -> bool:
    return len(custody.behind(user.uuid, environment=environment)) > 1


def _require_person(actor: Principal, environment: Environment) -> None:
    require(actor=actor, action=Action.ACCESS_CONFIRM, environment=environment)
    if actor.kind is not ActorKind.USER:
        record_denial(actor=actor, action=Action.ACCESS_CONFIRM, environment=environment, reason="program")
        raise Conflict("Only a person can confirm this.")
    require_confirmed(actor)


def _record_confirmation(
    actor: Principal, environment: Environment, described: AuditObject, state: dict[str, Any]
) -> None:
    record(
        actor=actor,
        action=Action.ACCESS_CONFIRM,
        stream=environment_stream(environment.uuid),
        object=described,
        details={"environment": environment.name, **state},
    )


def places_of(user: User) -> Iterable[Environment]:
    """Return the environments of an account's memberships, in the order in which streams are locked."""
    rows = Membership.objects.filter(Q(user=user) | Q(group__group_members__user=user))
    return Environment.every.filter(pk__in=rows.values("environment_id")).order_by("pk")


def waiting_places(user: User) -> list[Environment]:
    """Return the environments where a suspended account has a role that no manager has confirmed since."""
    if user.suspended_at is None:
        return []
    return [place for place in places_of(user) if confirmed_accounts(place).get(user.pk) != user.suspended_at]


def _about(user: UUID, environment: Environment) -> UUID:
    return uuid5(user, environment.uuid.hex)


def _page(environment: Environment) -> str:
    return reverse("environment-access", args=[environment.name])
