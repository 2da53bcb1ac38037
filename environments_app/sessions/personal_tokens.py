"""Ending personal tokens: one of them, or all of a person along with the sessions."""

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import Actor
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from environments_app.authorization.policy import Principal, require
from environments_app.models import PersonalToken, User


def active_tokens(user: User) -> QuerySet[PersonalToken]:
    """Return the tokens of a person that have not ended, the newest first."""
    rows = PersonalToken.objects.filter(user=user, revoked_at=None, expires_at__gt=timezone.now())
    return rows.select_related("user", "environment").order_by("-pk")


def revoke_token(*, actor: Principal, token: PersonalToken) -> None:
    """End a token of the actor, or of another person as an administrator; one that has ended stays so.

    Raises Forbidden.
    """
    if actor.uuid != token.user.uuid:
        require(actor=actor, action=Action.TOKEN_REVOKE, environment=None)
    with transaction.atomic():
        _end(actor, PersonalToken.objects.filter(pk=token.pk, revoked_at=None))


def end_tokens(*, actor: Actor, user: User) -> int:
    """End all tokens of a person, in the transaction of what makes them end; return how many."""
    return _end(actor, PersonalToken.objects.filter(user=user, revoked_at=None))


def record_personal(actor: Actor, action: Action, token: PersonalToken) -> None:
    """Record a change of a token, in its transaction: what it reaches, and no part of its secret."""
    record(
        actor=actor,
        action=action,
        stream=streams.SYSTEM,
        object=AuditObject("personal-token", token.uuid, token.name),
        details={
            "user": token.user.username,
            "environment": token.environment.name if token.environment else None,
            "prefix": token.prefix,
            "expires_at": token.expires_at.isoformat(),
            **row_digest_entry(token),
        },
    )


def _end(actor: Actor, rows: QuerySet[PersonalToken]) -> int:
    """End tokens. A forged one is ended too: it opened nothing, and its MAC stays wrong."""
    # Not joined: MariaDB would lock the user and the environment as well.
    tokens = list(rows.select_for_update().prefetch_related("user", "environment"))
    for token in tokens:
        genuine = token.is_authentic()
        token.revoked_at = timezone.now()
        if genuine:
            token.save(update_fields=["revoked_at"])
        else:
            PersonalToken.objects.filter(pk=token.pk).update(revoked_at=token.revoked_at)
        record_personal(actor, Action.TOKEN_REVOKE, token)
    return len(tokens)
