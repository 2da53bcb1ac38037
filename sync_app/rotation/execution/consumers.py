"""The consumers of a secret: what they confirmed that they use, and which still hold an older version."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from environments_app.authorization.policy import Principal, allows
from environments_app.authorization.principals import load_principal
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.lookup import require_authentic, require_on
from secrets_app.rows.references import secrets_that_follow
from secrets_app.services.read import current_version_of, version_of
from sync_app.backends.registry import backend_of
from sync_app.domain.reconciliation import Direction, Ownership, Reason
from sync_app.jobs.leases import database_now
from sync_app.models import Acknowledgement, SyncEntry
from sync_app.state.references import ReferenceRights, load_resolutions

_LONGEST_LAG: Final = timedelta(minutes=5)
# Who sees a rotation may not know the places to which another environment takes the value.
_ELSEWHERE: Final = "a target of another environment"
# Nor what other secrets were called.
_FOLLOWER: Final = "a secret that refers to this one"
_REMEDY: Final = "the target withdraws it if its deletion is on; else delete it there by hand"
# The MAC covers no reason. So it counts only for a name that the secret's own row no longer has.
_GONE: Final = (Reason.WITHDRAWN, Reason.NOWHERE)


def explain_lag(secret: Secret) -> str:
    """Return what has to come to pass at targets before a login may change or end; empty if nothing.

    An older version names the login that a rotation is about to change, whether stored alone or
    substituted into another secret. What a target holds under a name that the secret has no more
    gets no newer version: it has to go.
    """
    older, former = set(), set()
    for entry, holder in (*_older_deliveries(secret), *_older_substitutions(secret)):
        near = entry.target.environment_id == secret.environment_id
        target = str(entry.target.name) if near else _ELSEWHERE
        if (entry.name, entry.target.environment_id) == (holder.name, holder.environment_id):
            older.add(target)
        elif entry.reason not in _GONE:
            former.add(f"{target} to let go of {entry.name if holder is secret else _FOLLOWER}")
    reasons = [f"{', '.join(sorted(older))} to hold the current version"] if older else []
    if former:
        reasons.append(f"{', '.join(sorted(former))}, a former name: {_REMEDY}")
    return "; ".join(reasons)


def readers_settle_at(secret: Secret) -> datetime | None:
    """Return when the last reader of a target sees what was delivered there of a secret; None if it does.

    A standby of Vault may serve the value before for a while after Keeper saw the new one at another node.
    """
    uuids = [secret.uuid, *(follower.uuid for follower in secrets_that_follow(secret))]
    times = [
        entry.synced_at + timedelta(seconds=lag)
        for entry in verified_rows(_load_deliveries(uuids))
        if entry.synced_at and (lag := backend_of(entry.target.backend).readers_lag_seconds)
    ]
    latest, now = max(times, default=None), database_now()
    # What is later than it can be was noted before the clock was put back.
    return latest if latest is not None and now < latest < now + _LONGEST_LAG else None


def find_unacknowledged(secret: Secret) -> list[Acknowledgement]:
    """Return the last word of each consumer that did not confirm the current version.

    A consumer that may no longer read the secret (an expired or replaced token; a closed account) is not
    waited for. A confirmation that was modified outside Keeper does not count.
    """
    rows = list(Acknowledgement.objects.filter(secret=secret))
    genuine = {row.pk for row in verified_rows(rows)}
    behind = [row for row in rows if row.pk not in genuine or row.number != secret.current_number]
    # Several may share a token: each consumer is asked about once.
    consumers = {row.consumer_uuid: row.consumer_kind for row in behind if row.pk in genuine}
    reading = {uuid for uuid, kind in consumers.items() if _may_read(uuid, kind, secret)}
    return [row for row in behind if row.pk not in genuine or row.consumer_uuid in reading]


def _older_deliveries(secret: Secret) -> Iterable[tuple[SyncEntry, Secret]]:
    """Yield what was delivered of an older version of a secret, with the secret."""
    current = current_version_of(secret).uuid.hex
    own = _load_deliveries([secret.uuid]).exclude(base_keeper=current)
    yield from ((entry, secret) for entry in verified_rows(own))


def _older_substitutions(secret: Secret) -> Iterable[tuple[SyncEntry, Secret]]:
    """Yield what was delivered with an older version of a secret filled in, with the secret that was."""
    followers = secrets_that_follow(secret)
    if not followers:
        return
    holders = {follower.uuid: follower for follower in followers}
    resolutions = load_resolutions(followers)
    versions = SecretVersion.objects.filter(secret__in=followers, number=F("secret__current_number"))
    current = dict(versions.values_list("secret__uuid", "uuid"))
    for entry in verified_rows(_load_deliveries(resolutions)):
        uuid = entry.secret_uuid
        if uuid not in current or entry.base_keeper == resolutions[uuid].delivered_version(current[uuid]):
            continue
        # What it may not be given any more does not come, however long one waits.
        if not ReferenceRights(entry.target).explain_refusal(resolutions[uuid]):
            yield entry, holders[uuid]


def _load_deliveries(secrets: Collection[UUID]) -> QuerySet[SyncEntry]:
    entries = SyncEntry.objects.filter(secret_uuid__in=list(secrets), target__live=True)
    pushed = entries.exclude(ownership=Ownership.NONE).exclude(target__direction=Direction.PULL)
    return pushed.select_related("target__environment")


def _may_read(consumer: UUID, kind: str, secret: Secret) -> bool:
    principal = load_principal(Actor(kind=ActorKind(kind), uuid=consumer, name=""))
    return allows(principal, Action.SECRET_REVEAL, environment_id=secret.environment_id, name=secret.name)


def acknowledge(*, actor: Principal, secret: Secret, number: int, instance: str = "") -> Acknowledgement:
    """Note that a consumer uses a version; its last word counts.

    `instance` tells apart several that share a token. Raises NoSuchVersion, TamperedSecret, and
    Forbidden or Invisible.
    """
    require_on(actor=actor, action=Action.ROTATION_ACKNOWLEDGE, secret=secret)
    require_authentic(secret)
    version_of(secret, number)
    who = {
        "secret_id": secret.uuid,
        "consumer_kind": actor.kind,
        "consumer_uuid": actor.uuid,
        "instance": instance,
    }
    try:
        return _store(actor, secret, number, who)
    except IntegrityError:
        # The same consumer spoke for the first time twice at once.
        return _store(actor, secret, number, who)


def remove_acknowledgement(*, actor: Principal, secret: Secret, instance: str = "") -> bool:
    """Remove the confirmation of the actor's consumer, or an instance of it; False if there is none.

    Nothing waits for it any more. Raises Forbidden or Invisible.
    """
    require_on(actor=actor, action=Action.ROTATION_ACKNOWLEDGE, secret=secret)
    with transaction.atomic():
        own = Acknowledgement.objects.select_for_update().filter(
            secret=secret, consumer_kind=actor.kind, consumer_uuid=actor.uuid, instance=instance
        )
        row = own.first()
        if row is None:
            return False
        record(
            actor=actor,
            action=Action.ROTATION_ACKNOWLEDGE,
            **stream_and_object(secret),
            details={"instance": instance, "withdrawn": True, **row_digest_entry(row, gone=True)},
        )
        row.delete()
    return True


def _store(actor: Principal, secret: Secret, number: int, who: dict[str, object]) -> Acknowledgement:
    with transaction.atomic():
        row = Acknowledgement.objects.select_for_update().filter(**who).first() or Acknowledgement(**who)
        if row.pk and row.number == number and row.is_authentic():
            return row
        row.consumer_name, row.number, row.acknowledged_at = actor.name, number, timezone.now()
        row.save()
        record(
            actor=actor,
            action=Action.ROTATION_ACKNOWLEDGE,
            **stream_and_object(secret),
            details={"number": number, "instance": row.instance, **row_digest_entry(row)},
        )
    return row
