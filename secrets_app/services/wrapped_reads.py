"""Wrapped reads: a token that opens one pinned version once, by the right of the token that wrapped it.

A wrapped read holds no value. Unwrapping asks again, under the lock of the secret, whether the wrapping token
still counts, whether the token that wrapped may still reveal the secret, and whether the version can be read.
It is used up with its event before the value is opened: of two requests one gets it, and after a crash none.
"""

import hashlib
import secrets as randomness
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor, anonymous, system
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_authentication import record_integrity_violation, verified_rows
from audit_app.integrity.row_state import latest_digests, mismatches, row_digest_entry
from audit_app.recording.drafts import AuditObject, stream_and_object
from audit_app.recording.recorder import commit_record, record
from audit_app.recording.refusals import refuse
from core.canonical_json import Json, utc_text
from core.clock import SLACK, has_begun
from environments_app.authorization.policy import Principal, allows
from environments_app.environments.restore_suspension import RestoreSuspension
from environments_app.errors import (
    ApprovalNeeded,
    ApprovalVoid,
    BadToken,
    Conflict,
    Forbidden,
    InvalidField,
    Invisible,
)
from environments_app.models import Approval, ApprovalState, Environment
from environments_app.tokens.bearers import session_bearer, token_behind
from secrets_app.errors import NoSuchVersion, WrappingEnded
from secrets_app.keys import data_keys
from secrets_app.models import Secret, SecretVersion, WrappedRead
from secrets_app.queries.lookup import require_authentic, require_on
from secrets_app.services.decoys import note_use
from secrets_app.services.guarded import open_released, request_read
from secrets_app.services.read import (
    RevealedValue,
    current_version_of,
    open_version,
    refuse_guarded,
    version_of,
)

WRAPPED_READS = RestoreSuspension(
    WrappedRead,
    kind="wrapped-read",
    field="revoked_at",
    related=("environment", "secret"),
    name=lambda row: str(row.secret.name),
    detail=lambda row: f"version {row.number}",
    living=Q(opened_at__isnull=True),
)
CHANGES: Final = (
    Action.SECRET_WRAP,
    Action.SECRET_UNWRAP,
    Action.SECRET_WRAP_REVOKE,
    Action.RESTORE_SUSPEND,
    Action.RESTORE_RELEASE,
)
PREFIX: Final = "kpw_"
MAX_LIFETIME: Final = timedelta(days=7)
_MAX_OPEN: Final = 1_000
_TOKEN_BYTES: Final = 32
_READ_BY_A_CLIENT: Final = "Read by a client of Vault or OpenBao; ask the requester why."
_NO_REQUEST: Final = "There is no such request."
_KEPT_FOR: Final = timedelta(days=7)
_BATCH: Final = 200


class Opener(NamedTuple):
    """From where a wrapping token is sent, and by whom, if that is a bearer of another token."""

    address: str
    request_id: str
    principal: Principal | None = None


def wrap_read(
    *, actor: Principal, secret: Secret, number: int | None = None, path: str, lifetime: timedelta
) -> tuple[WrappedRead, str]:
    """Wrap a read of the current version, or of version `number`; return it and its token, shown this once.

    The wrapping token ends with the token of the actor. Raises what `reveal` raises but for the value,
    Forbidden for who bears no token, InvalidField for a lifetime beyond seven days, and Conflict if the token
    has a thousand that nobody opened.
    """
    require_on(actor=actor, action=Action.SECRET_REVEAL, secret=secret)
    require_authentic(secret)
    if secret.guarded:
        refuse_guarded(actor, Action.SECRET_REVEAL, secret)
    version = current_version_of(secret) if number is None else version_of(secret, number)
    if not timedelta(0) < lifetime <= MAX_LIFETIME:
        raise InvalidField("ttl", f"A wrapped read lasts up to {MAX_LIFETIME.days} days. Nothing was done.")
    if secret.decoy:
        note_use(actor=actor, secret=secret, action=Action.SECRET_WRAP)
    return _wrapped(actor, secret, version.number, path, timezone.now() + lifetime)


def wrap_request(
    *, actor: Principal, secret: Secret, number: int | None = None, path: str
) -> tuple[WrappedRead, str]:
    """Request a read of a guarded secret; return what opens it once another agreed, and its token.

    Raises what `request_read` raises but for ApprovalNeeded, and what `wrap_read` raises for its bearer.
    """
    try:
        request_read(actor=actor, secret=secret, number=number, reason=_READ_BY_A_CLIENT)
    except ApprovalNeeded as asked:
        approval = Approval.objects.get(pk=asked.approval)
    pinned = int(approval.arguments["number"])
    return _wrapped(actor, secret, pinned, path, approval.expires_at, approval=approval.uuid)


def find_request(*, actor: Principal, accessor: str) -> tuple[WrappedRead, Approval]:
    """Return the actor's own request by the accessor of its wrapping token. Raises Invisible."""
    try:
        uuid = UUID(accessor)
    except ValueError:
        raise Invisible(_NO_REQUEST) from None
    row = WrappedRead.objects.select_related("environment", "secret").filter(uuid=uuid).first()
    approval = _approval_of(row) if row else None
    if not row or not approval or not _is_genuine(row) or not _is_requester(actor, approval):
        raise Invisible(_NO_REQUEST)
    return row, approval


def _wrapped(
    actor: Principal,
    secret: Secret,
    number: int,
    path: str,
    ends: datetime,
    approval: UUID | None = None,
) -> tuple[WrappedRead, str]:
    bearer = token_behind(actor)
    if bearer is None:
        raise Forbidden("Only the bearer of a token wraps a read.")
    if WrappedRead.objects.filter(_is_open(), bearer=bearer.public_id).count() >= _MAX_OPEN:
        raise Conflict(f"This token has {_MAX_OPEN:,} wrapped reads. Unwrap them, or wait until some end.")
    text = PREFIX + randomness.token_urlsafe(_TOKEN_BYTES)
    row = WrappedRead(
        environment=secret.environment,
        secret=secret,
        number=number,
        path=path,
        token_hash=_hash(text),
        bearer=bearer.public_id,
        created_at=timezone.now(),
        expires_at=min(ends, bearer.expires_at) if bearer.expires_at else ends,
        approval=approval,
    )
    with transaction.atomic():
        row.save()
        _record(actor, Action.SECRET_WRAP, row)
    return row, text


def find_wrapped(*, text: str, opener: Opener) -> WrappedRead:
    """Return what a wrapping token opens, without opening it.

    Raises WrappingEnded, also for a token that never was one; each is counted by its address.
    """
    row, _ = _find(text, opener)
    return row


def unwrap_read(*, text: str, opener: Opener) -> RevealedValue:
    """Use a wrapping token up and show its version, this once.

    Raises WrappingEnded if it was used or has ended, or if the token that wrapped ended or lost its right, or
    the version is gone: also if that happened meanwhile. Raises Forbidden for a
    token that administers, and what `reveal` raises; a key that is away is found out before anything is used
    up.
    """
    if opener.principal and opener.principal.is_admin:
        raise Forbidden("A token that administers opens no value. Unwrap with the wrapping token alone.")
    row, sealed = _find(text, opener)
    if row.approval is not None:
        return _unwrap_released(row, opener)
    try:
        if sealed.data_key_id:
            data_keys.prefetch({sealed.data_key_id})
        bearer, version = _use_up(row, opener)
    except WrappingEnded as error:
        raise _refused(row, opener) from error
    details: dict[str, Json] = {"protocol": "kv-v2", "wrapped_by": bearer.name, "wrapping": str(row.uuid)}
    reader = opener.principal or bearer
    value = open_version(actor=reader, version=version, action=Action.SECRET_REVEAL, details=details)
    return RevealedValue(version=version, value=value)


def _unwrap_released(row: WrappedRead, opener: Opener) -> RevealedValue:
    """Show what another person agreed to, to who asked for it. Raises WrappingEnded, also before that."""
    person, approval = opener.principal, _approval_of(row)
    if person is None or approval is None or not _is_requester(person, approval):
        raise _refused(row, opener)
    if approval.state != ApprovalState.APPROVED:
        raise _refused(row, opener)
    try:
        shown = open_released(
            actor=person.carrying(approval.uuid),
            secret=row.secret,
            number=row.number,
            was_current=approval.arguments["current"],
        )
    except (ApprovalVoid, Forbidden, Invisible, NoSuchVersion) as error:
        raise _refused(row, opener) from error
    with transaction.atomic():
        locked = WrappedRead.objects.select_for_update().get(pk=row.pk)
        # It may have been revoked meanwhile: then the value is not shown, and the agreement is used up.
        counts = _counts(locked)
        if counts:
            locked.secret, locked.environment = row.secret, row.environment
            locked.opened_at = timezone.now()
            locked.save(update_fields=["opened_at"])
            _record(person, Action.SECRET_UNWRAP, locked)
    if not counts:
        raise _refused(row, opener)
    return shown


def revoke_wrapped(*, text: str, opener: Opener) -> None:
    """Withdraw a wrapping token that its holder shows: it opens nothing any more.

    Raises WrappingEnded if it was used or has ended, also meanwhile; each is counted by its address.
    """
    rows = WrappedRead.objects.select_related("environment", "secret__environment")
    row = rows.filter(token_hash=_hash(text)).first()
    if row is None or not _is_genuine(row):
        raise _refused(row, opener)
    try:
        _revoke(row, opener.principal or anonymous(opener.address, opener.request_id))
    except WrappingEnded as error:
        raise _refused(row, opener) from error


def revoke_accessor(*, actor: Principal, bearers: Collection[str], accessor: str) -> bool:
    """Withdraw the wrapping token of an accessor, if one of these bearers made it; return whether that is so.

    Raises WrappingEnded if it was used or has ended, also meanwhile.
    """
    try:
        uuid = UUID(accessor)
    except ValueError:
        return False
    rows = WrappedRead.objects.select_related("environment", "secret__environment")
    row = rows.filter(uuid=uuid, bearer__in=bearers).first()
    if row is None or not _is_genuine(row):
        return False
    _revoke(row, actor)
    return True


def _revoke(row: WrappedRead, actor: Actor) -> None:
    """Mark a wrapped read as revoked, together with its event. Raises WrappingEnded if it ended meanwhile."""
    with transaction.atomic():
        # The secret first, as where it is used up.
        Secret.objects.select_for_update().filter(pk=row.secret_id).first()
        locked = WrappedRead.objects.select_for_update().filter(pk=row.pk).first()
        if locked is None or not _counts(locked):
            raise WrappingEnded
        locked.secret, locked.environment = row.secret, row.environment
        locked.revoked_at = timezone.now()
        locked.save(update_fields=["revoked_at"])
        _record(actor, Action.SECRET_WRAP_REVOKE, locked)


def _approval_of(row: WrappedRead) -> Approval | None:
    if row.approval is None:
        return None
    rows = Approval.objects.select_related("environment").filter(uuid=row.approval)
    return next(iter(verified_rows(rows)), None)


def _is_requester(actor: Principal, approval: Approval) -> bool:
    return (actor.kind, actor.uuid) == (approval.requester.kind, approval.requester_uuid)


def purge_wrapped_reads() -> int:
    """Remove wrapped reads that ended a week ago, each batch with its event; return how many."""
    removed = 0
    for environment in Environment.every.order_by("pk"):
        while batch := _remove_batch(environment):
            removed += batch
    return removed


def _find(text: str, opener: Opener) -> tuple[WrappedRead, SecretVersion]:
    """Return what a wrapping token opens, and its version. Raises WrappingEnded, counted by the address."""
    rows = WrappedRead.objects.select_related("environment", "secret__environment")
    row = rows.filter(token_hash=_hash(text)).first()
    if row is None or not _is_genuine(row) or not _counts(row):
        raise _refused(row, opener)
    try:
        return row, _readable(row, row.secret, opener)[1]
    except WrappingEnded as error:
        raise _refused(row, opener) from error


def _is_open() -> Q:
    now = timezone.now()
    times = Q(created_at__lte=now + SLACK, expires_at__gt=now)
    return times & Q(opened_at=None, revoked_at=None)


def _counts(row: WrappedRead) -> bool:
    in_time = has_begun(row.created_at) and row.expires_at > timezone.now()
    return row.opened_at is None and row.revoked_at is None and in_time


def _is_genuine(row: WrappedRead) -> bool:
    """Refuse a row that Keeper did not write, and an older state of one that was put back."""
    replayed = list(mismatches([row], latest_digests(CHANGES, rows=[row])))
    if row.is_authentic() and not replayed:
        return True
    reason = "the wrapped read was not written by Keeper"
    record_integrity_violation(kind="wrapped-read", uuid=row.uuid, name=row.secret.name, reason=reason)
    return False


def _readable(row: WrappedRead, secret: Secret, opener: Opener) -> tuple[Principal, SecretVersion]:
    """Return by whose right a version is read, and the version, as both are now. Raises WrappingEnded."""
    require_authentic(secret)
    served = secret.live or secret.is_withdrawn
    try:
        bearer = session_bearer(row.bearer, address=opener.address, request_id=opener.request_id)
        version = version_of(secret, row.number)
    except (BadToken, NoSuchVersion) as error:
        raise WrappingEnded from error
    place = row.environment_id
    may = allows(bearer, Action.SECRET_REVEAL, environment_id=place, name=secret.name)
    if (
        not may
        or not served
        or bool(secret.guarded) != (row.approval is not None)
        or secret.environment_id != place
    ):
        raise WrappingEnded
    return bearer, version


def _use_up(row: WrappedRead, opener: Opener) -> tuple[Principal, SecretVersion]:
    """Mark a wrapped read as opened, together with its event, and return what `_readable` does.

    Raises WrappingEnded if it ended meanwhile.
    """
    with transaction.atomic(durable=True):
        # The secret first, as those do who delete it with what was wrapped of it.
        secret = Secret.objects.select_for_update().filter(pk=row.secret_id).first()
        locked = WrappedRead.objects.select_for_update().filter(pk=row.pk).first()
        if secret is None or locked is None or not _counts(locked):
            raise WrappingEnded
        secret.environment = row.environment
        bearer, version = _readable(row, secret, opener)
        locked.secret, locked.environment = secret, row.environment
        locked.opened_at = timezone.now()
        locked.save(update_fields=["opened_at"])
        _record(opener.principal or bearer, Action.SECRET_UNWRAP, locked)
    return bearer, version


def _refused(row: WrappedRead | None, opener: Opener) -> WrappingEnded:
    """Count a refusal by its address; that of a token that was one once is also an event of the secret."""
    refuse(kind="unknown-wrapping" if row is None else "ended-wrapping", address=opener.address)
    if row is not None:
        actor = opener.principal or anonymous(opener.address, opener.request_id)
        commit_record(
            actor=actor, action=Action.SECRET_UNWRAP, **stream_and_object(row), outcome=Outcome.DENIED
        )
    return WrappingEnded()


def _record(actor: Actor, action: Action, row: WrappedRead) -> None:
    details: dict[str, Json] = {
        "secret": str(row.secret.uuid),
        "number": row.number,
        "path": row.path,
        "until": utc_text(row.expires_at),
        **row_digest_entry(row),
    }
    record(actor=actor, action=action, **stream_and_object(row), details=details)


def _remove_batch(environment: Environment) -> int:
    before = timezone.now() - _KEPT_FOR
    with transaction.atomic():
        rows = WrappedRead.objects.select_for_update().filter(environment=environment, expires_at__lt=before)
        batch = list(rows.order_by("pk")[:_BATCH])
        if batch:
            record(
                actor=system(),
                action=Action.SECRET_WRAP_PURGE,
                stream=environment_stream(environment.uuid),
                object=AuditObject("environment", environment.uuid, environment.name),
                details={"removed": len(batch), **row_digest_entry(*batch, gone=True)},
            )
        for row in batch:
            row.delete()
    return len(batch)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
