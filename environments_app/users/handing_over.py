"""An administrator hands an account over to a SCIM client, which manages it from then on.

It is the one way by which a client comes to an account that it did not make and whose subject it cannot name:
one with a password, or one of Entra. Until the client writes, the row has revision 0.
"""

from collections.abc import Mapping
from typing import Final

from django.db import IntegrityError
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.canonical_json import Json
from environments_app.authorization.credential_custody import HANDED_TO
from environments_app.authorization.policy import Principal, require, require_confirmed, require_unsuspended
from environments_app.authorization.rows import lock_authentic, require_authentic
from environments_app.errors import Conflict, InvalidField, NameInUse
from environments_app.models import (
    OIDC_ISSUER,
    SAML_ISSUER,
    ProvisionedUser,
    ScimClient,
    ScimPreset,
    ServiceToken,
    User,
)
from environments_app.names import fold_username
from environments_app.sessions.service import end_sessions, own_ids, refuse_late, require_still
from environments_app.users.accounts import record_takeover
from environments_app.users.credentials import forget_others_credentials
from environments_app.users.suspensions import mark_suspended, tell_suspended

_MAX_TEXT: Final = 255


def hand_over(
    *, actor: Principal, user: User, client: ScimClient, external_id: str, user_name: str
) -> ProvisionedUser:
    """Let a client manage an account, and whoever proves the external ID at its provider sign in with it.

    Sessions and personal tokens end. An account without single sign-on shows names alone until managers
    confirm it: another person could be at the other end, such as the actor or who has the client's tokens.
    An account with access breaks the glass. One that the client manages is handed over again once it has
    ended; by another external ID, the subject that signed in with it does so no more. The external ID of an
    active account that signs in already is its subject, where the two can be compared.
    Raises Forbidden, ConfirmationNeeded, Suspended, InvalidField, NameInUse, Tampered, or Conflict for the
    actor's own account, a removed client, an active account that is managed, one of another client or
    provider, and a subject that another account signs in by.
    """
    require_may_hand_over(actor)
    if actor.uuid == user.uuid:
        raise Conflict("This is your own account. Another administrator hands it over.")
    external_id, user_name = _text("external_id", external_id), _text("user_name", user_name)
    late, ids = refuse_late(actor, Action.SCIM_CLIENT_CHANGE), own_ids(actor)
    try:
        # In the order in which a client's writes lock them.
        with late, lock_authentic(client) as owner, lock_authentic(user, beside=ids) as stored:
            require_still(actor, Action.SCIM_CLIENT_CHANGE)
            return _hand_over(actor, stored, owner, external_id, user_name)
    except IntegrityError as error:
        raise NameInUse("Another person of this client has this userName or external ID.") from error


def require_may_hand_over(actor: Principal) -> None:
    """Raise Forbidden, ConfirmationNeeded or Suspended for who hands nothing over."""
    require(actor=actor, action=Action.SCIM_CLIENT_CHANGE, environment=None)
    require_confirmed(actor)
    require_unsuspended(actor, Action.SCIM_CLIENT_CHANGE)


def _hand_over(
    actor: Principal, user: User, client: ScimClient, external_id: str, user_name: str
) -> ProvisionedUser:
    if client.removed_at is not None:
        raise Conflict("This SCIM client was removed. Choose another one.")
    if user.saml_issuer is not None and _sign_in_of(user.saml_issuer) != client.issuer:
        raise Conflict("This person signs in by another identity provider than the people of this client.")
    managed = ProvisionedUser.objects.filter(user=user, live=True, client__removed_at=None).first()
    if managed is not None and (user.is_active or managed.client_id != client.pk):
        raise Conflict("A SCIM client manages this account already.")
    other = User.objects.named_by(client, external_id)
    if other is not None and other != user:
        raise Conflict(
            f"{other.username} signs in by this external ID already. Let {client.name} create the person "
            "with it: it adopts that account. Then disable this one."
        )
    last = ProvisionedUser.objects.filter(user=user, client=client).order_by("-pk").first()
    if last is not None:
        require_authentic(last)
    if last.external_id != external_id if last else _signs_in_as_another(user, client, external_id):
        # Whom the earlier one named signs in with it no more.
        user.saml_issuer = user.saml_name_id = None
        user.save(update_fields=["saml_issuer", "saml_name_id"])
    release(actor, user)
    shown = {"displayName": user.display_name, "emails": user.email and [{"value": user.email}]}
    row = ProvisionedUser(client=client, user=user, user_name=fold_username(user_name), revision=0)
    row.external_id, row.handed_over_at = external_id, timezone.now()
    # What the client ended, it enables.
    row.ended_here = managed is not None and managed.ended_here
    row.attributes = {
        "userName": user_name,
        "externalId": external_id,
        "active": user.is_active,
        **{name: value for name, value in shown.items() if value},
    }
    row.save(force_insert=True)
    suspends = user.saml_issuer is None and mark_suspended(actor, user)
    if suspends:
        user.reset_email = ""
        forget_others_credentials(actor, user)
        user.save(update_fields=["suspended_at", "reset_email"])
    end_sessions(user, actor=actor)
    if suspends:
        tell_suspended(actor, user, f"{actor.name} handed {user.username} over to {client.name}.")
    taken: dict[str, Json] = {"handed_over": client.name}
    if suspends:
        # They all could be whoever proves the external ID.
        tokens = ServiceToken.objects.filter(scim_client_uuid=client.uuid, revoked_at=None)
        taken[HANDED_TO] = [str(token.uuid) for token in tokens.order_by("pk")]
    record_takeover(actor, user, taken)
    record_provisioned(actor, row, "handed over")
    return row


def _signs_in_as_another(user: User, client: ScimClient, external_id: str) -> bool:
    """Return whether an account that ended signs in by another subject than the external ID is.

    Raises Conflict for one that goes on. By Entra and SAML the two may differ for one person.
    """
    compared = (client.issuer or "").startswith(OIDC_ISSUER) and client.preset != ScimPreset.ENTRA
    if not compared or user.saml_name_id in {None, external_id}:
        return False
    if user.is_active:
        raise Conflict(
            f"{user.username} signs in as {user.saml_name_id}: hand the account over by this external ID. If "
            "that is not the person any more, end the account first."
        )
    return True


def release(actor: Principal, user: User) -> None:
    """Take a locked account from a client that was removed. Raises Tampered."""
    for row in ProvisionedUser.objects.filter(user=user, live=True).select_related("client", "user"):
        require_authentic(row)
        row.live, row.changed_at = None, timezone.now()
        row.save(update_fields=["live", "changed_at"])
        record_provisioned(actor, row, "released")


def record_provisioned(
    actor: Principal, row: ProvisionedUser, change: str, details: Mapping[str, Json] | None = None
) -> None:
    """Record what became of a person whom a client manages, in its transaction."""
    record(
        actor=actor,
        action=Action.USER_PROVISION,
        stream=streams.SYSTEM,
        object=AuditObject("user", row.user.uuid, row.user.username),
        details={
            "change": change,
            "client": row.client.name,
            "user_name": row.user_name,
            **(details or {}),
            **row_digest_entry(row),
        },
    )


def _sign_in_of(issuer: str) -> str:
    """Return what a client is linked to whose people have this issuer."""
    return issuer if issuer.startswith(OIDC_ISSUER) else SAML_ISSUER


def _text(field: str, given: str) -> str:
    text = given.strip()
    if not 1 <= len(text) <= _MAX_TEXT or not text.isprintable():
        raise InvalidField(field, f"Enter 1 to {_MAX_TEXT} printable characters.")
    return text
