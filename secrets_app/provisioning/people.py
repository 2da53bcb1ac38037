"""Use cases of a SCIM client with people: create, adopt, change, end and delete those that it manages.

A client manages the accounts that it made, and those of its identity provider that it names by their
subject. It sees no others. A name or an e-mail address never finds an account, no write changes a role, and
what an administrator disabled stays disabled.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit_app.events.actions import Action, Outcome
from audit_app.integrity.row_authentication import verified_rows
from audit_app.models import AuditEvent
from environments_app.authorization.credential_custody import RENAMED
from environments_app.authorization.policy import Principal
from environments_app.authorization.rows import lock_authentic, require_authentic
from environments_app.errors import Conflict, Invisible, LastAdministrator, NameInUse
from environments_app.models import (
    Departure,
    DepartureKind,
    GroupMember,
    Membership,
    ProvisionedUser,
    ScimClient,
    ServiceToken,
    User,
    UserRole,
)
from environments_app.names import MAX_USERNAME, fold_username, validate_new_username
from environments_app.tokens.scim_clients import provisioning
from environments_app.users.accounts import administrators_beside, come_back, record_user
from environments_app.users.handing_over import record_provisioned, release
from environments_app.users.password_backend import named_user
from environments_app.users.suspensions import tell_suspended
from secrets_app.departures.ending import end_person, hold_last_administrator
from secrets_app.provisioning.groups import leave_all
from secrets_app.provisioning.mass_leave import hold_rotations

# The names of SCIM (RFC 7643, 4.1), as a client sends and reads them.
Attributes = dict[str, Any]
Edit = Callable[[Attributes], Attributes]
_NO_NAME_CHARACTER: Final = re.compile(r"[^\w.+-]+")
_MAX_DISPLAY_NAME: Final = 150
_SAME_NAMES: Final = 99
_STAYS: Final = (
    "The externalId of this user stays: the person has signed in, or the account has a role or a group of "
    "Keeper. An administrator disables the account there and hands it over (People, its page, Hand over): by "
    "the new ID if the person is the same, by another userName if not."
)
_FOREIGN: Final = (
    "An account of this name exists that this provider does not manage. Give the person another userName, or "
    "have an administrator of Keeper hand the account over: People, its page, Hand over."
)


def people_of(client: ScimClient) -> QuerySet[ProvisionedUser]:
    """Return the people that a client manages now, in the order in which they came."""
    return ProvisionedUser.objects.filter(client=client, live=True).select_related("client", "user")


def find(client: ScimClient, id: UUID) -> ProvisionedUser:
    """Return a person of a client. Raises Invisible if it manages none of this id."""
    rows = verified_rows(people_of(client).filter(uuid=id))
    if not rows:
        raise Invisible("This client has no user of this id.")
    return rows[0]


def create(*, actor: Principal, client: ScimClient, wanted: Attributes) -> ProvisionedUser:
    """Make the account of a person, or adopt the one of the same subject, or one that was handed over.

    A person whom the client deleted and names by the same external ID gets the same account: it shows names
    alone until managers confirm it. Raises NameInUse, Conflict, BadName, Tampered, or BadToken.
    """
    try:
        return _create(actor, client, wanted)
    except IntegrityError as error:
        # Somebody else has made an account of this name meanwhile.
        raise NameInUse("The account was being made at the same time. Try again.") from error


def _create(actor: Principal, client: ScimClient, wanted: Attributes) -> ProvisionedUser:
    with provisioning(actor, client) as locked:
        try:
            _require_free(locked, wanted, None)
        except NameInUse:
            handed_over = people_of(locked).filter(external_id=wanted.get("externalId"), revision=0).first()
            if handed_over is None:
                raise
            return _adopt(actor, handed_over, wanted)
        row = ProvisionedUser(client=locked, user_name=_folded(wanted))
        row.external_id, row.attributes = wanted.get("externalId"), wanted
        change, user = _account_of(row, wanted)
        if not change:
            change, row.user = "created", _new_account(actor, row, wanted)
        elif user is not None:
            with lock_authentic(user, beside=administrators_beside(user)) as stored:
                row.user = stored
                release(actor, stored)
                if change == "returned":
                    _return(actor, stored, row, wanted)
                elif wanted.get("active") is False:
                    row.ended_here = stored.is_active
                    _end(actor, row.client, stored)
                _describe(actor, stored, wanted)
        row.save(force_insert=True)
        record_provisioned(actor, row, change)
    return row


def _adopt(actor: Principal, row: ProvisionedUser, wanted: Attributes) -> ProvisionedUser:
    """Let a client create the person whose account an administrator handed over to it."""
    require_authentic(row)
    with lock_authentic(row.user, beside=administrators_beside(row.user)) as stored:
        row.user = stored
        before = {**row.attributes, "active": stored.is_active}
        _change(actor, row, before, {"active": stored.is_active, **wanted})
        row.revision = max(row.revision, 1)
        row.save(update_fields=["revision"])
    return row


def change(
    *, actor: Principal, client: ScimClient, id: UUID, edit: Edit, require: Callable[[int], None]
) -> ProvisionedUser:
    """Apply an edit to what a client stores of a person; `active` ends the account or lets it return.

    `require` is called with the revision under the lock, and raises if the caller saw another one. A change
    that changes nothing leaves no event. Raises as `create` does, Invisible, LastAdministrator once what
    the person could use has ended, and what the edit raises.
    """
    try:
        with provisioning(actor, client) as locked:
            row = _locked(locked, id)
            require(row.revision)
            with lock_authentic(row.user, beside=administrators_beside(row.user)) as stored:
                row.user = stored
                before = dict(row.attributes)
                is_others = before.get("active", stored.is_active) != stored.is_active
                if is_others:
                    # Somebody else decided last: what the edit does not name decides nothing.
                    before.pop("active")
                _change(actor, row, before, edit(dict(before)))
                if is_others and "active" not in row.attributes:
                    row.attributes["active"] = stored.is_active
                    row.save(update_fields=["attributes"])
    except LastAdministrator:
        _hold(actor, client, id)
        raise
    return row


def remove(*, actor: Principal, client: ScimClient, id: UUID, require: Callable[[int], None]) -> None:
    """End the account of a person and manage it no longer. Raises as `change` does."""
    try:
        with provisioning(actor, client) as locked:
            row = _locked(locked, id)
            require(row.revision)
            with lock_authentic(row.user, beside=administrators_beside(row.user)) as stored:
                row.ended_here = row.ended_here or stored.is_active
                _end(actor, row.client, stored)
            row.live, row.changed_at = None, timezone.now()
            row.save(update_fields=["live", "ended_here", "changed_at"])
            record_provisioned(actor, row, "deleted")
    except LastAdministrator:
        _hold(actor, client, id)
        raise


def _locked(client: ScimClient, id: UUID) -> ProvisionedUser:
    """Return a person of a locked client, whose rows nobody else writes."""
    row = people_of(client).filter(uuid=id).first()
    if row is None:
        raise Invisible("This client has no user of this id.")
    require_authentic(row)
    return row


def _change(actor: Principal, row: ProvisionedUser, before: Attributes, wanted: Attributes) -> None:
    """Store what a client wants of a person, whose account is locked."""
    user = row.user
    ends = wanted.get("active") is False and (before.get("active") is not False or user.is_active)
    returns = wanted.get("active") is True and not user.is_active
    if wanted == before and not ends:
        return
    _require_free(row.client, wanted, row)
    if _folded(wanted) != row.user_name:
        # What no account could be made of is no new name either.
        _free_username(row.client, wanted["userName"])
    external_id = wanted.get("externalId")
    is_renamed = external_id != row.external_id
    if is_renamed:
        _require_renamable(row, external_id)
    # First, so that a return in the same request does not lift it.
    if is_renamed:
        _suspend_renamed(actor, user)
    if ends:
        row.ended_here = row.ended_here or user.is_active
        _end(actor, row.client, user)
    elif returns:
        _let_return(actor, user, row)
    if is_renamed:
        record_user(actor, user, {RENAMED: "changed"})
    _describe(actor, user, wanted)
    fields = sorted(name for name in {*before, *wanted} if before.get(name) != wanted.get(name))
    row.user_name, row.external_id, row.attributes = _folded(wanted), external_id, wanted
    row.revision, row.changed_at = row.revision + 1, timezone.now()
    row.save()
    change = "ended" if ends else "returned" if returns else "changed"
    record_provisioned(actor, row, change, {"fields": [*fields]})


def _account_of(row: ProvisionedUser, wanted: Attributes) -> tuple[str, User | None]:
    """Return how a person that a client creates comes by an account that exists: "" for not at all."""
    external_id = wanted.get("externalId")
    if not external_id:
        return "", None
    earlier = ProvisionedUser.objects.filter(client=row.client, external_id=external_id, live=None)
    last = next(iter(verified_rows(earlier.select_related("client", "user").order_by("-pk")[:1])), None)
    if last is not None:
        later = ProvisionedUser.objects.filter(client=row.client, user=last.user, pk__gt=last.pk)
        if later.exclude(external_id=external_id).exists():
            # An administrator handed the account over by another external ID: it is not this person's.
            last = None
    user = last.user if last else User.objects.named_by(row.client, external_id)
    if user is None:
        return "", None
    managed = ProvisionedUser.objects.filter(user=user, live=True, client__removed_at=None).first()
    if managed is not None:
        whose = "user of this provider has" if managed.client_id == row.client_id else "provider manages"
        raise NameInUse(f"Another {whose} the account of this person.")
    if last is not None:
        row.ended_here, row.handed_over_at = last.ended_here, last.handed_over_at
        return "returned", user
    return "adopted", user


def _new_account(actor: Principal, row: ProvisionedUser, wanted: Attributes) -> User:
    user = User(username=_free_username(row.client, wanted["userName"]), **_profile(wanted))
    user.set_password(None)
    if wanted.get("active") is False:
        user.is_active, row.ended_here = False, True
    user.save(force_insert=True)
    details = {"role": user.role, "by": "scim", "client": row.client.name}
    if not user.is_active:
        details |= {"is_active": False}
    record_user(actor, user, details, action=Action.USER_CREATE)
    return user


def _free_username(client: ScimClient, user_name: str) -> str:
    """Return the local part of a userName as a username, numbered where the client's own people have it.

    Keeper's username never changes and is never given again, since the audit log names it. Raises NameInUse
    if an account has it that the client never managed, and BadName.
    """
    local = _NO_NAME_CHARACTER.sub("-", user_name.partition("@")[0])[: MAX_USERNAME - 3]
    first = validate_new_username(local)
    for number in range(1, _SAME_NAMES + 1):
        name = first if number == 1 else f"{first}-{number}"
        user = named_user(name)
        if user is None:
            return name
        if not ProvisionedUser.objects.filter(client=client, user=user).exists():
            raise NameInUse(_FOREIGN)
    raise NameInUse("Too many people have this name. Give the person another userName.")


def _return(actor: Principal, user: User, row: ProvisionedUser, wanted: Attributes) -> None:
    """Let a person whom the client deleted have the account again; it is suspended in any case."""
    if wanted.get("active") is False:
        if user.is_active:
            row.ended_here = True
            _end(actor, row.client, user)
        # Another moment than that of its end: the return that follows does not lift it.
        user.suspended_at = timezone.now()
        user.save(update_fields=["suspended_at"])
        record_user(actor, user, {"suspended": True})
        return
    if not user.is_active:
        _let_return(actor, user, row, suspends=True)


def _let_return(actor: Principal, user: User, row: ProvisionedUser, *, suspends: bool = False) -> None:
    """Enable a locked account that this client ended, and nobody after it. Raises Conflict otherwise."""
    if user.is_active:
        return
    rows = Departure.objects.filter(user=user, kind=DepartureKind.LEFT).select_related("user")
    last = next(iter(verified_rows(rows.order_by("-pk")[:1])), None)
    own = ServiceToken.objects.filter(scim_client_uuid=row.client.uuid)
    if not row.ended_here or (last is not None and not own.filter(uuid=last.ended_by_uuid).exists()):
        raise Conflict(
            "An administrator of Keeper disabled this account. An administrator can enable it in Keeper."
        )
    come_back(actor=actor, stored=user)
    if suspends and user.suspended_at is None:
        user.suspended_at = timezone.now()
        tell_suspended(actor, user, f"{actor.name} created {user.username} again, after deleting it.")
    user.is_active, row.ended_here = True, False
    user.save(update_fields=["is_active", "suspended_at"])
    record_user(actor, user, {"is_active": True})


def _require_renamable(row: ProvisionedUser, external_id: str | None) -> None:
    """Raise Conflict unless the client alone decides whose a locked account is.

    Whoever proves the external ID signs in with it first. So it stays once somebody has signed in, where an
    administrator chose it, or others gave the account something. Another account signs in by none of these.
    """
    user = row.user
    has_signed_in = user.saml_issuer is not None or user.last_login is not None
    places = GroupMember.objects.filter(user=user).exclude(group__provisioned__client=row.client)
    given = Membership.objects.filter(user=user).exists() or places.exists()
    if has_signed_in or row.handed_over_at is not None or user.role != UserRole.USER or given:
        raise Conflict(_STAYS)
    if external_id and User.objects.named_by(row.client, external_id) is not None:
        raise Conflict(
            "Another account of Keeper signs in by this externalId. Delete this user, then create the person "
            "with it: that account is adopted."
        )


def _suspend_renamed(actor: Principal, user: User) -> None:
    """Suspend an account that another person could sign in with from now on.

    One without access is not, unless a manager confirmed it: the client takes it out of its groups and puts
    it back. An account that ended counts as one with access: its groups may be gone.
    """
    has_access = Membership.objects.filter(Q(user=user) | Q(group__group_members__user=user)).exists()
    confirmed = AuditEvent.objects.filter(
        object_uuid=user.uuid, action=Action.ACCESS_CONFIRM, outcome=Outcome.ALLOWED
    )
    if user.suspended_at is None and not has_access and not confirmed.exists():
        return
    # A new moment, also where it is suspended: no return lifts it, and no earlier confirmation counts.
    user.suspended_at = timezone.now()
    if user.is_active:
        tell_suspended(actor, user, f"{actor.name} changed the external ID that {user.username} signs in by.")
    user.save(update_fields=["suspended_at"])


def _end(actor: Principal, client: ScimClient, user: User) -> None:
    """End an account that the caller has locked; the act writes the stored row."""
    end_person(actor=actor, user=user, right=Action.USER_PROVISION)
    leave_all(actor=actor, client=client, user=user)
    hold_rotations(client)
    user.refresh_from_db()


def _hold(actor: Principal, client: ScimClient, id: UUID) -> None:
    """End what the last administrator could use; the provider tries again until there is another."""
    with provisioning(actor, client) as locked:
        row = _locked(locked, id)
        hold_last_administrator(actor=actor, user=row.user)


def _describe(actor: Principal, user: User, wanted: Attributes) -> None:
    """Show what the client calls a person, on a locked account; it decides nothing."""
    changes = {name: text for name, text in _profile(wanted).items() if text != getattr(user, name)}
    if not changes:
        return
    for name, text in changes.items():
        setattr(user, name, text)
    if "email" in changes:
        # The person has not confirmed the new one.
        user.reset_email = ""
    user.save(update_fields=[*changes, "reset_email"])
    record_user(actor, user, dict(changes))


def _profile(wanted: Attributes) -> dict[str, str]:
    """Return what an account shows of a person, without what it cannot store."""
    name: Mapping[str, str] = wanted.get("name") or {}
    both = f"{name.get('givenName', '')} {name.get('familyName', '')}".strip()
    shown = wanted.get("displayName") or name.get("formatted") or both
    emails = wanted.get("emails") or [{}]
    email = next((each for each in emails if each.get("primary")), emails[0]).get("value", "")
    try:
        validate_email(email)
    except ValidationError:
        email = ""
    return {
        "display_name": shown if len(shown) <= _MAX_DISPLAY_NAME and shown.isprintable() else "",
        "email": str(User.objects.normalize_email(email)),
    }


def _require_free(client: ScimClient, wanted: Attributes, row: ProvisionedUser | None) -> None:
    """Raise NameInUse if another person of the client has the userName or the external ID."""
    others = ProvisionedUser.objects.filter(client=client, live=True)
    others = others.exclude(pk=row.pk) if row else others
    name, external_id = _folded(wanted), wanted.get("externalId")
    same = Q(user_name=name) | Q(external_id=external_id) if external_id else Q(user_name=name)
    taken = others.filter(same).values_list("user_name", flat=True).first()
    if taken is not None:
        if taken != name:
            raise NameInUse("Another user of this provider has this externalId.")
        raise NameInUse(
            "Another user of this provider has this userName. If that person left, delete that user, or have "
            "an administrator of Keeper hand the account over by another userName: People, its page, Hand "
            "over."
        )


def _folded(wanted: Attributes) -> str:
    """Return the userName as names are compared (RFC 7643, 4.1.1: without case)."""
    return fold_username(wanted["userName"])
