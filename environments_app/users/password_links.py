"""Use cases of links in e-mails: invite a person, reset a forgotten password, choose a password.

A link carries 256 random bits behind its `#`, which browsers send to no server, and is kept as a hash. It
works once, for a short time, and only while the account is as it was when the link was made.

A reset goes to an address that the person confirmed (`User.reset_email`), never to one that an administrator
has entered since: who changes an address must not be able to take the account. An invitation to another
address than before suspends an account that has access, as a replaced password does. What an invitation gives
besides a password is in `invitations`.
"""

import hashlib
from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.utils import timezone

from audit_app.errors import TooManyRefusals
from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from audit_app.recording.refusals import check_allowance, refuse
from core.network.client_address import subscriber
from environments_app.authorization.policy import Principal, require, require_confirmed
from environments_app.authorization.principals import user_principal
from environments_app.authorization.rows import lock_authentic
from environments_app.errors import Conflict, Forbidden, InvalidField, LinkEnded
from environments_app.models import LinkPurpose, PasswordLink, ProvisionedUser, Role, User, UserRole
from environments_app.models.authentication import account_fingerprint
from environments_app.notifications.service import message_users
from environments_app.sessions.service import end_sessions, lock_actor, lock_other, lock_own
from environments_app.users.accounts import (
    check_and_set_password,
    create_user,
    end_links,
    record_takeover,
    record_user,
)
from environments_app.users.invitations import Offer, check_offer, give_access, kept, offered, told
from environments_app.users.suspensions import mark_suspended, places_of, tell_suspended

_HOUR: Final = timedelta(hours=1)
_PER_ADDRESS: Final = 3
_PER_SOURCE: Final = 10
_MOST_WAITING: Final = 1000
# The task that sends what is queued.
SENDING: Final = "environments_app.tasks.deliver_notifications"


def can_send() -> bool:
    """Return whether links can be sent: there is a mail server, and an address of Keeper to link to."""
    return bool(settings.EMAIL_HOST and settings.KEEPER_URL)


def resets_are_on() -> bool:
    """Return whether people can reset their password by e-mail."""
    return bool(settings.KEEPER_PASSWORD_RESET) and can_send()


def invite_new(
    *,
    actor: Principal,
    email: str,
    environments: Collection[str] = (),
    access: str = Role.READER,
    prefix: str = "",
    **fields: Any,
) -> User:
    """Create an account without a password, and send its person a link to choose one.

    Who accepts gets the role `access` in the environments of these names, perhaps for a prefix only.
    Raises as `create_user`, `invite` and `check_offer` do.
    """
    require(actor=actor, action=Action.USER_CREATE, environment=None)
    role = fields.get("role", UserRole.USER)
    offers = check_offer(actor=actor, environments=environments, access=access, role=role, prefix=prefix)

    def queue(user: User) -> None:
        _require_invitable(user)
        _queue_invitation(actor, user, offers)
        record_user(actor, user, {"invitation": "sent", "address": user.email, **told(offers)})

    return create_user(actor=actor, email=email, password=None, also=queue, **fields)


def invite(*, actor: Principal, user: User) -> None:
    """Send an invitation to an account that has no password yet; an earlier link ends.

    What the earlier invitation offered, if it still waits, the actor now offers. An account with access is
    suspended if the address differs from that of the last invitation: the administrator could have chosen
    it. Raises Forbidden, ConfirmationNeeded, Tampered, InvalidField without an address, Conflict if the
    account is disabled, has a password or uses single sign-on, or as `check_offer` does.
    """
    require(actor=actor, action=Action.USER_CREATE, environment=None)
    require_confirmed(actor)
    seen = invitation_of(user)
    offers = _offer_again(actor, seen, user) if seen else []
    with lock_other(actor, user, Action.USER_CREATE) as stored:
        _require_invitable(stored)
        last = invitation_of(stored)
        if last != seen:
            raise Conflict("The invitation has changed. Reload the page and try again.")
        if last and last.ended_at is not None:
            # It was withdrawn.
            offers = []
        moved = last is None or last.address != stored.email
        suspends = moved and any(places_of(stored)) and mark_suspended(actor, stored)
        if suspends:
            stored.save(update_fields=["suspended_at"])
            tell_suspended(actor, stored)
        _queue_invitation(actor, stored, offers)
        details = {"address": stored.email, **told(offers)}
        if suspends:
            record_takeover(actor, stored, {"password": "invitation", **details})
        else:
            record_user(actor, stored, {"invitation": "sent", **details})


def withdraw_invitation(*, actor: Principal, user: User) -> None:
    """End the invitation of an account. Raises Forbidden."""
    require(actor=actor, action=Action.USER_CHANGE, environment=None)
    with lock_actor(actor, Action.USER_CHANGE, people=[user]):
        if end_links(user):
            record_user(actor, user, {"invitation": "withdrawn"})


def invitation_of(user: User) -> PasswordLink | None:
    """Return the newest genuine invitation of an account that has no password yet."""
    if user.has_usable_password() or user.saml_issuer:
        return None
    rows = PasswordLink.objects.filter(user=user, purpose=LinkPurpose.INVITATION).select_related("user")
    return next(iter(verified_rows(rows.order_by("-pk")[:1])), None)


def choose_reset(*, actor: Principal, user: User, allowed: bool) -> None:
    """Let the actor's own password be reset by a link to their present address, or not any more.

    Raises Forbidden for another account, ConfirmationNeeded to allow it, InvalidField without an address, or
    Conflict for an account without a local password.
    """
    if actor.uuid != user.uuid:
        raise Forbidden("You don't have permission to do this.")
    if allowed:
        require_confirmed(actor)
    with lock_own(actor, user, Action.USER_CHANGE) as stored:
        if allowed and not stored.email:
            raise InvalidField("email", "Your account has no e-mail address. An administrator can add one.")
        if allowed and (stored.saml_issuer or not stored.has_usable_password()):
            raise Conflict("Your account has no password in Keeper.")
        stored.reset_email = stored.email if allowed else ""
        stored.save(update_fields=["reset_email"])
        record_user(actor, stored, {"password_reset": stored.reset_email or "off"})


def request_reset(*, email: str, address: str) -> None:
    """Note that the person of an e-mail address wants to reset their password; a worker does the rest.

    It does the same for each address, known or not. `address` is the network address of the caller.
    Raises TooManyRefusals if that has requested too many.
    """
    check_allowance(address=address)
    now, source, typed = timezone.now(), subscriber(address), email.strip().lower()
    requests = PasswordLink.objects.filter(purpose=LinkPurpose.RESET, user=None, created_at__gt=now - _HOUR)
    own = list(requests.filter(source=source).order_by("created_at").values_list("created_at", flat=True))
    if len(own) >= _PER_SOURCE:
        raise TooManyRefusals(retry_after=max(1, int((own[-_PER_SOURCE] + _HOUR - now).total_seconds())))
    if requests.filter(due_at__isnull=False).count() >= _MOST_WAITING:
        raise TooManyRefusals(retry_after=60)
    # Known or not: more messages would only fill a mailbox.
    if requests.filter(address=typed).count() < _PER_ADDRESS:
        PasswordLink(purpose=LinkPurpose.RESET, address=typed, source=source).save()


def obstacle_to_reset(user: User) -> str:
    """Return why an active account gets no link to reset its password, for its person; "" if it gets one."""
    if user.saml_issuer:
        return "You sign in by single sign-on: reset your password at your identity provider, not in Keeper."
    if not user.has_usable_password():
        return "Your account has no password yet. Ask an administrator for an invitation."
    if not user.reset_email or user.reset_email != user.email:
        return "Resets by e-mail are not turned on for your account. Ask an administrator for a new password."
    if user.role != UserRole.USER and not user.second_factor:
        return (
            "Administrators and auditors can reset a password by e-mail only with two-factor authentication. "
            "Ask another administrator, or run keeper changepassword on the host."
        )
    return ""


def choose_password(*, code: str, password: str, address: str, request_id: str = "") -> PasswordLink:
    """Set the password of the account that a link was sent to; return the link, which has ended.

    All sessions and tokens end, two-factor authentication and a suspension stay. An accepted invitation
    gives the access that it offers (`give_access`). Raises LinkEnded, InvalidField for a weak password,
    which leaves the link as it is, or TooManyRefusals for a network that tried too many codes.
    """
    check_allowance(address=address)
    link = PasswordLink.objects.select_related("user").filter(code_hash=hash_of(code)).first()
    if link is None or link.user is None or not _is_usable(link):
        refuse(kind="password-link", address=address)
        raise LinkEnded
    with lock_authentic(link.user) as stored:
        waiting = PasswordLink.objects.filter(pk=link.pk, ended_at=None)
        if account_fingerprint(stored) != link.bound_to or not waiting.update(
            ended_at=timezone.now(), due_at=None
        ):
            raise LinkEnded
        actor = user_principal(stored, address=address, request_id=request_id)
        check_and_set_password(stored, password)
        stored.reset_email, stored.temporary_since = link.address, None
        stored.save(update_fields=["password", "temporary_since", "reset_email"])
        end_sessions(stored, actor=actor)
        record_user(actor, stored, {"password": f"chosen by {link.purpose}"})
        _tell(stored, link)
        if link.purpose == LinkPurpose.INVITATION:
            give_access(link, stored, request_id=request_id)
    link.user = stored
    return link


def hash_of(code: str) -> str:
    """Return what is kept of a link's code."""
    return hashlib.sha256(code.encode(errors="surrogatepass")).hexdigest()


def _is_usable(link: PasswordLink) -> bool:
    is_on = link.purpose == LinkPurpose.INVITATION or resets_are_on()
    return is_on and link.is_open and bool(verified_rows([link])) and bool(link.user and link.user.is_active)


def _require_invitable(user: User) -> None:
    if not can_send():
        raise Conflict("Keeper can't send e-mail links. Set EMAIL_HOST and KEEPER_URL.")
    if not user.email:
        raise InvalidField("email", "Enter the address that the invitation is sent to.")
    if user.has_usable_password() or user.saml_issuer or not user.is_active:
        raise Conflict("Only active accounts without a password can be invited.")
    if ProvisionedUser.objects.filter(user=user, client__removed_at=None).exists():
        raise Conflict("A SCIM client provisions this person, who signs in by single sign-on.")


def _queue_invitation(actor: Principal, user: User, offers: Collection[Offer]) -> None:
    end_links(user)
    PasswordLink(
        purpose=LinkPurpose.INVITATION,
        user=user,
        address=user.email,
        made_by=actor.name,
        access=kept(actor, offers),
    ).save()


def _offer_again(actor: Principal, last: PasswordLink, user: User) -> list[Offer]:
    """Return what a waiting invitation offers, asked for with the rights of who sends it again."""
    return [
        again
        for offer in offered(last)
        for again in check_offer(
            actor=actor,
            environments=[offer.environment.name],
            access=offer.role,
            role=user.role,
            prefix=offer.prefix,
        )
    ]


def _tell(user: User, link: PasswordLink) -> None:
    if link.purpose == LinkPurpose.INVITATION:
        return
    message_users(
        people=[user.uuid],
        environment=None,
        kind="password-reset",
        subject="Your password was reset",
        lines=[
            f"A link in an e-mail set a new password for {user.username}.",
            "All your sessions and personal tokens ended.",
            "If this wasn't you, ask an administrator to disable the account, and secure your mailbox.",
        ],
    )
