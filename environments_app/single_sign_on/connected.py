"""Another sign-in of a person's own account: an identity provider vouches for them, they say yes, or it ends.

Nothing is connected by an answer of a provider alone: the person whose session it is sees whose sign-in it is
first. So an answer that somebody else began, or for somebody else's account there, connects nothing.
"""

import hashlib
import time
from dataclasses import asdict, dataclass
from typing import Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from environments_app.authentication.passkeys import require_own
from environments_app.authentication.pending import LIFETIME_SECONDS
from environments_app.authentication.sign_in import ProviderSubject
from environments_app.authorization.policy import Principal
from environments_app.errors import Conflict
from environments_app.models import (
    OIDC_ISSUER,
    ConnectedSignIn,
    OidcProvider,
    ProvisionedUser,
    ScimClient,
    User,
)
from environments_app.sessions.service import end_all_sessions, lock_own
from environments_app.users.credentials import delete_connected

MAX_CONNECTED: Final = 5
PROVISIONED: Final = (
    "A SCIM client decides who signs in through this identity provider, and each person has an account of "
    "their own for it. Nobody connects it to another account."
)
_MAX_NAME: Final = 150
_OFFERED: Final = "connecting"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A sign-in that a provider vouched for in this session; `until` is in seconds since the epoch."""

    issuer: str
    subject: str
    name: str
    until: int

    @property
    def provider(self) -> str:
        return label_of(self.issuer)

    @property
    def key(self) -> str:
        """What a form calls it: another tab of the session may have brought another one."""
        return hashlib.sha256(f"{self.issuer}\n{self.subject}".encode()).hexdigest()


def offer(request: HttpRequest, *, issuer: str, subject: str, name: str) -> None:
    """Keep in the session what a provider vouched for, until its person says yes."""
    shown = name if name.isprintable() and len(name) <= _MAX_NAME else ""
    offered = Offer(
        issuer=issuer, subject=subject, name=shown or subject, until=int(time.time()) + LIFETIME_SECONDS
    )
    request.session[_OFFERED] = asdict(offered)


def offered_in(request: HttpRequest) -> Offer | None:
    """Return what waits in this session for its person's word; None if nothing does, or not any more."""
    kept = request.session.get(_OFFERED)
    offered = Offer(**kept) if kept else None
    return offered if offered and 0 <= offered.until - time.time() <= LIFETIME_SECONDS else None


def withdraw_offer(request: HttpRequest) -> None:
    """Forget what waits in this session."""
    request.session.pop(_OFFERED, None)


def connect(*, actor: Principal, user: User, offered: Offer) -> ConnectedSignIn:
    """Let a provider sign in the actor's own account as well.

    Raises Forbidden, ConfirmationNeeded, or Conflict if the sign-in has an account, the provider signs nobody
    in any more, a SCIM client provisions for it, the account was handed over to one and its person has not
    signed in since, or it has too many.
    """
    require_own(actor, user)
    if not label_of(offered.issuer):
        raise Conflict("This identity provider doesn't sign people in any more.")
    with lock_own(actor, user, Action.USER_CHANGE) as stored:
        if ScimClient.linked_to(offered.issuer) is not None:
            raise Conflict(PROVISIONED)
        if ProvisionedUser.awaiting(stored):
            raise Conflict("This account was handed over. First sign in by your identity provider.")
        owner = User.objects.bound_to(offered.issuer, offered.subject)
        if owner is not None:
            raise Conflict(_taken(owner == stored))
        if ConnectedSignIn.objects.filter(user=stored).count() >= MAX_CONNECTED:
            raise Conflict(f"You have connected {MAX_CONNECTED} sign-ins. Disconnect one first.")
        row = ConnectedSignIn(user=stored, issuer=offered.issuer, subject=offered.subject, name=offered.name)
        try:
            with transaction.atomic():
                row.save()
        except IntegrityError as error:
            # Another account was first, or a forged row names it.
            raise Conflict(_taken(False)) from error
        record(
            actor=actor,
            action=Action.USER_CHANGE,
            stream=streams.SYSTEM,
            object=AuditObject(row.MAC_LABEL, row.uuid, stored.username),
            details={"sign_in": "connected", "issuer": row.issuer, "as": row.name, **row_digest_entry(row)},
        )
    return row


def disconnect(
    *, actor: Principal, user: User, uuid: str, subject: ProviderSubject | None, except_key: str
) -> None:
    """Let a connected sign-in open the actor's own account no more; other sessions and personal tokens end.

    `subject` is by what the session began: the sign-in of a session stays until it ends.
    Raises Forbidden, ConfirmationNeeded, or Conflict.
    """
    require_own(actor, user)
    with lock_own(actor, user, Action.USER_CHANGE) as stored:
        row = next((each for each in connected_of(stored) if str(each.uuid) == uuid), None)
        if row is None:
            raise Conflict("This sign-in has already been disconnected.")
        if subject is not None and (subject.issuer, subject.name_id) == (row.issuer, row.subject):
            raise Conflict("You signed in by it. Sign in another way, then disconnect it.")
        delete_connected(actor, stored, row)
    # After it is gone: a session that begins meanwhile is stored first, then looks (`answers`).
    end_all_sessions(actor=actor, user=user, except_key=except_key)


def connected_of(user: User) -> list[ConnectedSignIn]:
    """Return the genuine connected sign-ins of a person, the oldest first."""
    rows = ConnectedSignIn.objects.select_related("user").filter(user=user)
    return list(verified_rows(rows.order_by("pk")))


def label_of(issuer: str) -> str:
    """Return what a provider is called on pages; "" if it signs nobody in now."""
    if not issuer.startswith(OIDC_ISSUER):
        return "SAML" if settings.KEEPER_SAML else ""
    rows = OidcProvider.objects.filter(slug=issuer.removeprefix(OIDC_ISSUER), enabled=True)
    return next((str(row.label) for row in verified_rows(rows)), "")


def _taken(own: bool) -> str:  # noqa: FBT001 - two sentences
    return "This sign-in is already yours." if own else "This sign-in belongs to another account in Keeper."
