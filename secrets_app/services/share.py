"""Shares a value once: a link that shows one pinned version one time to a person who is signed in.

The link carries 256 random bits and alone opens nothing: the user must be signed in, be the recipient, and
send a POST. The share is consumed, together with its event, in a separate transaction before the value is
opened: of two concurrent requests one gets it, and after a crash in between none does.
"""

import hashlib
import secrets as randomness
from datetime import timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.row_authentication import record_integrity_violation
from audit_app.integrity.row_state import latest_digests, mismatches, row_digest_entry
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record, record
from core.canonical_json import Json, utc_text
from core.clock import SLACK
from environments_app.authorization.policy import Principal, allows
from environments_app.authorization.principals import user_principal
from environments_app.environments.memberships import acting_user
from environments_app.environments.restore_suspension import RestoreSuspension
from environments_app.errors import Forbidden, InvalidField, Invisible
from environments_app.models import Environment, ProvisionedUser, User
from secrets_app.errors import ShareEnded
from secrets_app.keys import data_keys
from secrets_app.models import Secret, Share
from secrets_app.queries.lookup import require_authentic, require_not_deleted, require_on
from secrets_app.services.read import (
    RevealedValue,
    open_version,
    refuse_guarded,
    require_readable,
    version_of,
)

SHARES = RestoreSuspension(
    Share,
    kind="share",
    field="revoked_at",
    related=("environment", "secret", "shared_by", "recipient", "opened_by"),
    name=lambda share: str(share.secret.name),
    detail=lambda share: f"by {share.shared_by.username}",
    living=Q(opened_at__isnull=True),
)


MAX_HOURS: Final = 7 * 24
MAX_NOTE: Final = 200
_LINK_BYTES: Final = 32
CHANGES: Final = (
    Action.SECRET_SHARE,
    Action.SECRET_SHARE_OPEN,
    Action.SECRET_SHARE_REVOKE,
    Action.RESTORE_SUSPEND,
    Action.RESTORE_RELEASE,
)


def share_once(
    *,
    actor: Principal,
    secret: Secret,
    recipient: User | None = None,
    hours: int = 24,
    note: str = "",
) -> tuple[Share, str]:
    """Share the current version; return the share and its link's id, shown this once.

    Needs the right to reveal. `recipient` None means anyone who is signed in.

    Raises InvalidField (also for a recipient whom a SCIM client manages and who has not signed in yet: it may
    still decide who that is), NoSuchVersion, StaleVersion if the secret is deleted, TamperedSecret, Forbidden
    (also for programs: a share is a person's) or Invisible.
    """
    share, link = new_share(
        actor=actor, secret=secret, hours=hours, most=MAX_HOURS, note=note, recipient=recipient
    )
    if recipient and ProvisionedUser.awaiting(recipient):
        raise InvalidField("recipient", f"{recipient.username} has not signed in yet.")
    with transaction.atomic():
        share.save()
        record_share(actor, Action.SECRET_SHARE, share)
    return share, link


def new_share(
    *, actor: Principal, secret: Secret, hours: int, most: int, note: str, **columns: Any
) -> tuple[Share, str]:
    """Return a share of the current version that is not stored yet, and its link's id; see `share_once`."""
    require_on(actor=actor, action=Action.SECRET_SHARE, secret=secret)
    require_not_deleted(secret)
    require_readable(actor=actor, secret=secret)
    sharer = acting_user(actor)
    if sharer is None:
        raise Forbidden("Only people share.")
    if not 1 <= hours <= most:
        raise InvalidField("hours", f"Enter 1 to {most} hours.")
    if len(note) > MAX_NOTE or not note.isprintable():
        raise InvalidField("note", f"Use one line of at most {MAX_NOTE} characters.")
    link = randomness.token_urlsafe(_LINK_BYTES)
    share = Share(
        environment=secret.environment,
        secret=secret,
        number=version_of(secret, secret.current_number).number,
        link_hash=hash_of(link),
        shared_by=sharer,
        note=note,
        expires_at=timezone.now() + timedelta(hours=hours),
        **columns,
    )
    return share, link


def find_share(*, actor: Principal, link: str) -> Share:
    """Return the share that a link opens for a person, without opening or consuming it.

    Raises ShareEnded if the link was for this person and was opened, revoked or has expired.
    Raises Invisible, without a reason, for any other link: unknown, for another recipient, one whose sharer
    may no longer reveal the secret, and any while the user's account is suspended. Each but an unknown one
    is recorded as denied.
    """
    rows = Share.objects.select_related("environment", "secret__environment", "shared_by", "recipient")
    share = rows.filter(link_hash=hash_of(link), outside="").first()
    if share is None or share.environment.deleted_at is not None:
        raise Invisible
    if not is_genuine(share):
        raise Invisible
    if not _opens_for(actor, share):
        commit_record(
            actor=actor, action=Action.SECRET_SHARE_OPEN, **stream_and_object(share), outcome=Outcome.DENIED
        )
        raise Invisible if share.is_open or not _is_meant_for(actor, share) else ShareEnded
    return share


def open_share(*, actor: Principal, link: str) -> RevealedValue:
    """Consume a share and show its version, this once.

    Raises Invisible and ShareEnded as `find_share` does, the latter also if another person opened it at
    the same moment, and what `reveal` raises; a key that is away is found out before anything is consumed.
    """
    share = find_share(actor=actor, link=link)
    require_authentic(share.secret)
    if share.secret.guarded:
        refuse_guarded(actor, Action.SECRET_REVEAL, share.secret)
    version = version_of(share.secret, share.number)
    if version.data_key_id:
        data_keys.prefetch({version.data_key_id})
    _consume(actor, share)
    details: dict[str, Json] = {"share": str(share.uuid), "shared_by": share.shared_by.username}
    value = open_version(actor=actor, version=version, action=Action.SECRET_REVEAL, details=details)
    return RevealedValue(version=version, value=value)


def revoke_share(*, actor: Principal, share: Share) -> None:
    """End an unopened share; allowed for its sharer and for users who may change the secret.

    Raises Forbidden or Invisible. One that is over stays as it is.
    """
    own = actor.kind is ActorKind.USER and share.shared_by.uuid == actor.uuid
    right = Action.SECRET_VIEW if own else Action.SECRET_UPDATE
    require_on(actor=actor, action=right, secret=share.secret)
    with transaction.atomic():
        locked = Share.objects.select_for_update().filter(pk=share.pk, opened_at=None, revoked_at=None)
        if not locked.exists():
            return
        share.revoked_at = timezone.now()
        share.save(update_fields=["revoked_at"])
        record_share(actor, Action.SECRET_SHARE_REVOKE, share)


def revoke_all(*, actor: Actor, user: User, environment: Environment) -> int:
    """Revoke the unopened links that an ended account made or that are for it, in the caller's transaction.

    Return how many. A forged row stays: it opens nothing.
    """
    ends = Q(shared_by=user) | Q(recipient=user)
    # Not joined: MariaDB would lock the people and the secrets as well.
    rows = Share.objects.select_for_update().prefetch_related(
        "environment", "secret__environment", "shared_by", "recipient"
    )
    count = 0
    for share in rows.filter(ends, environment=environment, opened_at=None, revoked_at=None).order_by("pk"):
        if share.is_authentic():
            share.revoked_at = timezone.now()
            share.save(update_fields=["revoked_at"])
            record_share(actor, Action.SECRET_SHARE_REVOKE, share)
            count += 1
    return count


def open_shares(**of: Secret | Environment) -> list[Share]:
    """Return the shares of a secret or of an environment that can still be opened, newest first."""
    rows = Share.objects.filter(_in_time(), opened_at=None, revoked_at=None, **of)
    return list(rows.select_related("environment", "secret", "shared_by", "recipient", "opened_by")[:100])


def _in_time() -> Q:
    """Return the condition on shares whose time has begun and is not over."""
    now = timezone.now()
    return Q(created_at__lte=now + SLACK, expires_at__gt=now)


def _is_meant_for(actor: Principal, share: Share) -> bool:
    """Whether the link is this person's to open, or was until it ended."""
    if actor.kind is not ActorKind.USER:
        return False
    if share.recipient and share.recipient.uuid != actor.uuid:
        return False
    return not actor.suspended or share.environment_id in actor.trusted_in


def _opens_for(actor: Principal, share: Share) -> bool:
    if not share.is_open or not _is_meant_for(actor, share):
        return False
    return sharer_may(share)


def sharer_may(share: Share) -> bool:
    """Whether the secret exists and its sharer may still reveal it: by that right the value leaves."""
    sharer = user_principal(share.shared_by)
    place = share.environment.pk
    may = allows(sharer, Action.SECRET_REVEAL, environment_id=place, name=share.secret.name)
    return may and bool(share.secret.live)


def is_genuine(share: Share) -> bool:
    """Refuse a row that Keeper did not write, and an older state of one that was put back."""
    replayed = list(mismatches([share], latest_digests(CHANGES, rows=[share])))
    if share.is_authentic() and not replayed:
        return True
    record_integrity_violation(
        kind="share", uuid=share.uuid, name=share.secret.name, reason="the share was not written by Keeper"
    )
    return False


def _consume(actor: Principal, share: Share) -> None:
    """Mark a share as opened, together with its event. Raises ShareEnded if it is over by now."""
    opener = acting_user(actor)
    now = timezone.now()
    share.opened_by, share.opened_at = opener, now
    share.seal_row()
    with transaction.atomic(durable=True):
        claimed = Share.objects.filter(_in_time(), pk=share.pk, opened_at=None, revoked_at=None).update(
            opened_by=opener, opened_at=now, row_mac=share.row_mac
        )
        if not claimed:
            raise ShareEnded
        record_share(actor, Action.SECRET_SHARE_OPEN, share)


def record_share(actor: Actor, action: Action, share: Share) -> None:
    """Record what happened to a share, with its state."""
    details: dict[str, Json] = {
        "secret": str(share.secret.uuid),
        "number": share.number,
        "for": share.reader,
        "until": utc_text(share.expires_at),
        **row_digest_entry(share),
    }
    record(actor=actor, action=action, **stream_and_object(share), details=details)


def hash_of(link: str) -> str:
    """Return what is kept of a link's id."""
    return hashlib.sha256(link.encode(errors="surrogatepass")).hexdigest()
