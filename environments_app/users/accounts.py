"""Use cases of people: creating, changing and restoring their accounts, and finding whom a grant names.

A grant names a person or a group. Both API and pages find it here.
"""

import secrets
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.integrity.row_authentication import AuthenticatedRow, verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject, EventDraft
from audit_app.recording.recorder import record_many
from environments_app.approvals.broken_glass import record_breaking
from environments_app.authorization.break_glass import administers
from environments_app.authorization.policy import Principal, require, require_confirmed, require_unsuspended
from environments_app.authorization.rows import clean_fields, lock_authentic, set_fields
from environments_app.errors import Conflict, Forbidden, InvalidField, LastAdministrator, NameInUse
from environments_app.models import (
    AccessConfirmation,
    Departure,
    DepartureKind,
    Environment,
    Membership,
    PasswordLink,
    ProvisionedUser,
    Source,
    User,
    UserRole,
)
from environments_app.names import normalise_username, validate_new_username
from environments_app.sessions.service import end_sessions, lock_actor, lock_other, lock_own
from environments_app.users.credentials import forget_others_credentials
from environments_app.users.password_backend import named_user
from environments_app.users.suspensions import mark_suspended, tell_suspended

CHANGEABLE: Final = frozenset({"email", "display_name", "role", "is_active"})
# What a SCIM client keeps of its people.
PROVIDED: Final = ("display_name", "email")
# What decides who signs in, and as what: a session whose proof has lapsed changes none of it.
_ASKS: Final = frozenset({"email", "role", "is_active"})


def new_password() -> str:
    """Return a random password of 144 bits, shown once to the user who replaces it."""
    return secrets.token_urlsafe(18)


def create_user(
    *,
    actor: Principal,
    username: str,
    email: str = "",
    display_name: str = "",
    role: str = UserRole.USER,
    password: str | None = None,
    also: Callable[[User], None] = lambda _user: None,
) -> User:
    """Create an account; without a password it has no local sign-in.

    An account created by a suspended one is suspended too: the same person may control both. `also` does
    more with it in the same transaction. Raises Forbidden, SessionEnded, ConfirmationNeeded, BadName,
    InvalidField (also for a weak password), or NameInUse.
    """
    require(actor=actor, action=Action.USER_CREATE, environment=None)
    require_confirmed(actor)
    user = User(
        username=validate_new_username(username),
        email=User.objects.normalize_email(email),
        display_name=display_name,
        role=role,
    )
    clean_fields(user, ["email", "display_name", "role"])
    check_and_set_password(user, password)
    if password is not None and actor.kind is not ActorKind.SYSTEM:
        user.temporary_since = timezone.now()
    if actor.suspended:
        user.suspended_at = timezone.now()
    try:
        with lock_actor(actor, Action.USER_CREATE):
            user.save()
            record_user(actor, user, {"role": user.role}, action=Action.USER_CREATE)
            also(user)
    except IntegrityError as error:
        raise NameInUse(f"The username {username} is taken.") from error
    return user


def create_provider_user(
    *, actor: Principal, username: str, issuer: str, name_id: str, email: str = "", display_name: str = ""
) -> User:
    """Create the account of a subject of the identity provider, without a password.

    Raises Forbidden, BadName, InvalidField, or NameInUse if the name or the subject has an account.
    """
    require(actor=actor, action=Action.USER_CREATE, environment=None)
    user = User(username=validate_new_username(username), email=email, display_name=display_name)
    user.saml_issuer, user.saml_name_id = issuer, name_id
    clean_fields(user, ["email", "display_name"])
    user.set_password(None)
    try:
        with transaction.atomic():
            user.save()
            record_user(actor, user, {"role": user.role, "issuer": issuer}, action=Action.USER_CREATE)
    except IntegrityError as error:
        raise NameInUse("The username or the subject is taken.") from error
    return user


def update_user(*, actor: Principal, user: User, **changes: Any) -> User:
    """Change an account (CHANGEABLE; its name stays) and return it as stored.

    One that is enabled again has no session, and is suspended if it was ended a while ago (`come_back`).
    Raises Forbidden, Suspended for a role that a suspended administrator gives, InvalidField, Tampered,
    Conflict if no active administrator would remain, or ConfirmationNeeded for the role, the state and the
    e-mail address.
    """
    require(actor=actor, action=Action.USER_CHANGE, environment=None)
    if changes.keys() & _ASKS:
        require_confirmed(actor)
    _require_may_set(actor, changes)
    may_end = changes.get("role", UserRole.ADMIN) != UserRole.ADMIN or not changes.get("is_active", True)
    beside = administrators_beside(user) if may_end else ()
    with lock_other(actor, user, Action.USER_CHANGE, beside=beside) as stored:
        was_admin, was_active = stored.is_admin, stored.is_active
        changed = set_fields(stored, changes)
        if actor.kind is not ActorKind.SYSTEM:
            _require_ours(stored, changed)
        if was_admin and not stored.is_admin:
            _require_another_admin(stored)
        if "role" in changed:
            # Decisions of users stay, whatever the groups of single sign-on are.
            stored.role_source = ""
        if "email" in changed:
            # The person has not confirmed the new one.
            stored.reset_email = ""
        if changed:
            if stored.is_active and not was_active:
                come_back(actor=actor, stored=stored)
            stored.save(update_fields=[*changed, "role_source", "reset_email", "suspended_at"])
            if not stored.is_active:
                end_sessions(stored, actor=actor)
            record_user(actor, stored, {name: changes[name] for name in changed})
    return stored


def _require_may_set(actor: Principal, changes: Mapping[str, Any]) -> None:
    if changes.get("role", UserRole.USER) != UserRole.USER:
        # Who it is given to would not be suspended, and may be the same person.
        require_unsuspended(actor, Action.USER_CHANGE)
    for name in changes.keys() - CHANGEABLE:
        raise InvalidField(name, "This field can't be changed.")


def _require_ours(user: User, changed: Collection[str]) -> None:
    """Raise InvalidField for what the SCIM client of an account keeps: its next change would replace it."""
    for name in PROVIDED:
        if name in changed and (row := ProvisionedUser.managing(user)) is not None:
            raise InvalidField(name, f"{row.client} keeps this. Change it there.")


def set_own_name(*, actor: Principal, user: User, display_name: str) -> User:
    """Change the actor's own display name; return the account as stored. Raises Forbidden, InvalidField."""
    if actor.kind is not ActorKind.USER or actor.uuid != user.uuid:
        raise Forbidden("You don't have permission to do this.")
    with lock_authentic(user) as stored:
        if changed := set_fields(stored, {"display_name": display_name}):
            _require_ours(stored, changed)
            stored.save(update_fields=["display_name"])
            record_user(actor, stored, {"display_name": display_name})
    return stored


def follow_groups(*, actor: Principal, user: User, role: UserRole) -> User:
    """Grant or remove a role in the installation by the groups of single sign-on.

    A role granted by a user stays. Raises Tampered, or Conflict if no administrator would remain.
    """
    with lock_authentic(user, beside=() if role == UserRole.ADMIN else administrators_beside(user)) as stored:
        is_granted_by_a_user = stored.role != UserRole.USER and not stored.role_source
        if role == stored.role or is_granted_by_a_user:
            return stored
        if stored.is_admin:
            _require_another_admin(stored)
        stored.role = role
        stored.role_source = "" if role == UserRole.USER else Source.SAML
        stored.save(update_fields=["role", "role_source"])
        record_user(actor, stored, {"role": stored.role, "source": "saml"})
    return stored


def end_account(*, actor: Principal, stored: User) -> None:
    """Disable a locked account for good, in the caller's transaction, which has asked the policy.

    The account is suspended from now on: who enables it again gets names, and values only where managers
    confirm it. Raises Conflict if no active administrator would remain.
    """
    if stored.is_admin:
        _require_another_admin(stored)
    if not stored.is_active and stored.suspended_at:
        confirmed = AccessConfirmation.objects.filter(user=stored, suspended_at=stored.suspended_at)
        if not confirmed.exists():
            return
    # Also where it was suspended before: what managers confirmed then is no word about a return.
    stored.is_active, stored.suspended_at = False, timezone.now()
    stored.save(update_fields=["is_active", "suspended_at"])
    record_user(actor, stored, {"is_active": False})


def come_back(*, actor: Principal, stored: User) -> None:
    """Prepare a locked account that is enabled again, in the caller's transaction, before it is saved.

    What began before opens nothing: its links, sessions and personal tokens end. The suspension that its
    end began is lifted if that is not KEEPER_RETURN_HOURS ago; else managers are told of it.
    """
    if not returns_suspended(stored):
        stored.suspended_at = None
    else:
        tell_suspended(actor, stored, f"{actor.name} enabled {stored.username} again, who had left.")
    end_links(stored)
    end_sessions(stored, actor=actor)
    ended = ProvisionedUser.objects.filter(user=stored, ended_here=True).select_related("client", "user")
    for row in verified_rows(ended):
        # Whoever disables the account from now on is not the SCIM client.
        row.ended_here = False
        row.save(update_fields=["ended_here"])
        record_many([_draft(actor, Action.USER_PROVISION, stored, {"change": "enabled"}, row)])


def returns_suspended(user: User) -> bool:
    """Return whether an account that is enabled now shows names alone, until managers confirm it."""
    rows = Departure.objects.filter(user=user, kind=DepartureKind.LEFT).select_related("user")
    last = next(iter(verified_rows(rows.order_by("-pk")[:1])), None)
    recent = timezone.now() - timedelta(hours=settings.KEEPER_RETURN_HOURS)
    is_of_its_end = last is not None and user.suspended_at == last.at and recent < last.at
    return user.suspended_at is not None and not is_of_its_end


def end_links(user: User) -> int:
    """End the open links for the password of an account, in the caller's transaction; return how many."""
    links = PasswordLink.objects.filter(user=user, ended_at=None)
    return links.update(ended_at=timezone.now(), due_at=None)


def disable_user(*, actor: Principal, user: User) -> User:
    """Take all access from a person at once; raises as `update_user` does."""
    return update_user(actor=actor, user=user, is_active=False)


def set_password(*, actor: Principal, user: User, password: str) -> User:
    """Set a new password, which ends the user's sessions; also of the actor's own account.

    An administrator who could now sign in as a user with access performs a break-glass act, and the account
    reads no value until managers confirm it (`suspensions`). A password set by commands on the host ends a
    suspension. One that another person set is temporary, and ends passkeys and connected sign-ins.
    Raises Forbidden, ConfirmationNeeded, InvalidField if it is weak or the temporary one, Tampered, or
    Conflict for an account of single sign-on.
    """
    own = actor.kind is ActorKind.USER and actor.uuid == user.uuid
    if not own:
        require(actor=actor, action=Action.USER_CHANGE, environment=None)
    require_confirmed(actor)
    lock = lock_own if own else lock_other
    with lock(actor, user, Action.USER_CHANGE) as stored:
        if not own and stored.saml_issuer is not None:
            raise Conflict("This person signs in by single sign-on, where the password is kept.")
        if own and stored.temporary_since and stored.check_password(password):
            raise InvalidField("password", "Choose another password than the temporary one.")
        check_and_set_password(stored, password)
        stored.temporary_since = None if own else timezone.now()
        suspends = mark_suspended(actor, stored)
        if actor.kind is ActorKind.SYSTEM:
            stored.suspended_at = None
        if not own:
            # Who used the account before may have confirmed an address of their own, or added a passkey.
            stored.reset_email = ""
            forget_others_credentials(actor, stored)
        stored.save(update_fields=["password", "temporary_since", "suspended_at", "reset_email"])
        end_sessions(stored, actor=actor, keep=actor.session if own else None)
        if suspends:
            tell_suspended(actor, stored)
        record_takeover(actor, stored, {"password": "replaced"})
    return stored


def restore_account(*, actor: Principal, user: User, role: str, password: str) -> User:
    """Make an account that was changed outside Keeper genuine again, stating all that it grants.

    Nothing of what was found is kept: the binding to a SAML subject and the second factor
    are cleared as well. It breaks the glass as `set_password` does.
    Raises Forbidden, ConfirmationNeeded, BadName or InvalidField.
    """
    require(actor=actor, action=Action.USER_CHANGE, environment=None)
    require_confirmed(actor)
    user.username = normalise_username(user.username)
    user.role, user.is_active = role, True
    user.saml_issuer = user.saml_name_id = user.second_factor = None
    user.reset_email = ""
    clean_fields(user, ["role"])
    check_and_set_password(user, password)
    user.temporary_since = timezone.now()
    with lock_actor(actor, Action.USER_CHANGE):
        suspends = mark_suspended(actor, user)
        user.save()
        forget_others_credentials(actor, user)
        end_sessions(user, actor=actor)
        if suspends:
            tell_suspended(actor, user)
        record_takeover(actor, user, {"restored": True, "role": user.role})
    return user


def check_and_set_password(user: User, password: str | None) -> None:
    """Set a password on an account that is not saved yet; None is none. Raises InvalidField if it is weak."""
    if password is not None:
        try:
            validate_password(password, user)
        except ValidationError as error:
            raise InvalidField("password", " ".join(error.messages)) from error
    user.set_password(password)


def administrators_beside(user: User) -> list[int]:
    """Return the ids of those on whom it depends whether this administrator may end to be one."""
    return list(_active_admins().values_list("pk", flat=True)) if user.is_admin else []


def _active_admins() -> QuerySet[User]:
    return User.objects.filter(role=UserRole.ADMIN, is_active=True)


def _require_another_admin(user: User) -> None:
    # Locked: also where the person was no administrator yet when the change began.
    others = _active_admins().select_for_update().exclude(pk=user.pk).order_by("pk")
    if not any(other.is_authentic() for other in others):
        raise LastAdministrator


def record_user(
    actor: Principal, user: User, details: dict[str, Any], *, action: Action = Action.USER_CHANGE
) -> None:
    """Record a change of an account, in its transaction."""
    record_many([_draft(actor, action, user, details)])


def record_takeover(actor: Principal, user: User, details: dict[str, Any]) -> None:
    """Record a change after which its actor could sign in as this user."""
    # Also while the account is disabled or a grant has expired: either can be put right afterwards.
    access = Membership.objects.filter(Q(user=user) | Q(group__group_members__user=user))
    places = list(Environment.objects.filter(pk__in=access.values("environment")))
    breaks_glass = administers(actor) and actor.uuid != user.uuid and bool(places)
    draft = _draft(actor, Action.USER_CHANGE, user, details)
    record_breaking(draft, breaks_glass=breaks_glass, places=places)


def _draft(
    actor: Principal, action: Action, user: User, details: dict[str, Any], row: AuthenticatedRow | None = None
) -> EventDraft:
    return EventDraft(
        actor=actor,
        action=action,
        stream=streams.SYSTEM,
        object=AuditObject("user", user.uuid, user.username),
        details=details | row_digest_entry(row or user),
    )


def user_by_name(username: str | None, *, field: str = "user") -> User | None:
    """Return the user of this name in any spelling; None for an empty name. Raises InvalidField."""
    if not username:
        return None
    user = named_user(username)
    if user is None:
        raise InvalidField(field, "User not found.")
    return user


def find_holder(name: str, *, field: str) -> tuple[User | None, Group | None]:
    """Return the person or the group of a name, which may begin with "person:" or "group:".

    Raises InvalidField if there is neither, or both.
    """
    kind, mark, rest = name.partition(":")
    if mark and kind in {"person", "group"}:
        wanted = rest.strip()
        is_group = kind == "group"
        return (None, find_group(wanted, field)) if is_group else (user_by_name(wanted, field=field), None)
    user = named_user(name)
    group = next((row for row in Group.objects.filter(name=name) if row.name == name), None)
    if user and group:
        raise InvalidField(
            field, f"A person and a group are named {name}. Enter person:{name} or group:{name}."
        )
    if not user and not group:
        raise InvalidField(field, "User or group not found.")
    return user, group


def find_group(name: str | None, field: str = "group") -> Group | None:
    """Return the group of exactly this name; no name is none. Raises InvalidField."""
    if not name:
        return None
    # Compared here as well: the column's collation may equate case.
    for group in Group.objects.filter(name=name):
        if group.name == name:
            return group
    raise InvalidField(field, "Group not found.")
