"""What a person proves who they are by, beside the password: how a change of it is recorded, and its end."""

from typing import Any

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import Actor
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from environments_app.models import ConnectedSignIn, Passkey, SecondFactor, User


def record_change(
    actor: Actor, user: User, factor: SecondFactor | Passkey, change: str, details: dict[str, Any]
) -> None:
    """Record a change of what a person proves a second factor by."""
    record(
        actor=actor,
        action=Action.SECOND_FACTOR_CHANGE,
        stream=streams.SYSTEM,
        object=AuditObject(factor.MAC_LABEL, factor.uuid, user.username),
        details={"change": change, **details},
    )


def delete_passkey(actor: Actor, user: User, passkey: Passkey) -> None:
    """Remove a passkey, inside a transaction."""
    state = {"passkey": passkey.name, **row_digest_entry(passkey, gone=True)}
    record_change(actor, user, passkey, "passkey removed", state)
    passkey.delete()


def delete_connected(actor: Actor, user: User, row: ConnectedSignIn) -> None:
    """Take a connected sign-in from an account, inside a transaction."""
    record(
        actor=actor,
        action=Action.USER_CHANGE,
        stream=streams.SYSTEM,
        object=AuditObject(row.MAC_LABEL, row.uuid, user.username),
        details={"sign_in": "disconnected", "issuer": row.issuer, **row_digest_entry(row, gone=True)},
    )
    row.delete()


def forget_others_credentials(actor: Actor, user: User) -> None:
    """End what an earlier user of the account may have added, inside a transaction: it needs no password."""
    remove_all_passkeys(actor, user)
    for row in ConnectedSignIn.objects.filter(user=user):
        delete_connected(actor, user, row)


def remove_all_passkeys(actor: Actor, user: User) -> None:
    """Remove every passkey of a person, those of an earlier second factor too, inside a transaction."""
    for passkey in Passkey.objects.filter(user=user):
        delete_passkey(actor, user, passkey)
