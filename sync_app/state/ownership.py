"""Whether a secret of the target is ours: our mark on it, and a matching entry here."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from django.db.models import Q

from audit_app.interfaces import Purpose, keyring
from audit_app.models import deployment_uuid
from core.canonical_json import Json, canonical_json
from sync_app.backends.observations import Mark, SecretMetadata
from sync_app.backends.registry import backend_of, capabilities_of
from sync_app.domain.delivery_state import PASSES_UNTIL_ALERT, DeliveryState
from sync_app.domain.reconciliation import Base, Ownership, Presence, Side
from sync_app.errors import OVERWROTE
from sync_app.jobs.leases import database_now
from sync_app.models import SyncEntry, Target

# The rows of which `waits_for_adoption` holds.
WAITING_FOR_ADOPTION: Final = Q(state=DeliveryState.OWNERSHIP_LOST) | Q(
    state=DeliveryState.FAILED, reason__startswith=OVERWROTE
)
_LABEL: Final = b"keeper/sync-token/v1|"
# Somebody who looks three times in a minute learns no more than by one look.
_LAG: Final = timedelta(minutes=10)
# What the last pass believed of the target was what was last synced.
_SETTLED: Final = frozenset({DeliveryState.IN_SYNC, DeliveryState.PENDING, DeliveryState.UNKNOWN})


def write_token(target: Target, *, place: str, keeper_version: str, target_version: str) -> str:
    """Return the token, 64 hexadecimal digits, of writing Keeper's version over the target's.

    `place` is the remote id, or the name where there is nothing yet. A value that is put there as
    pending and becomes current later is the same write, and so the same version.
    """
    message: list[Json] = [str(target.uuid), place, keeper_version, target_version]
    return keyring().mac(Purpose.AUDIT_MAC, _LABEL + canonical_json(message))[-32:].hex()


def mark_for(target: Target, secret: UUID) -> Mark:
    """Return the mark that a target puts on the secret of this uuid."""
    return Mark(deployment=deployment_uuid(), target=target.uuid, secret=secret)


def prove_ownership(
    target: Target, entry: SyncEntry | None, seen: SecretMetadata | None, *, secret: UUID | None
) -> Ownership:
    """Return what can be proved; `secret` is the uuid of Keeper's secret of that name, if there is one.

    A secret that is gone from the target carries no mark: there only the entry records its ownership.
    """
    if entry is None:
        return Ownership.NONE
    gone = seen is None or seen.presence not in {Presence.PRESENT, Presence.DELETED}
    if not gone and replaced_other_secret(entry):
        # Its mark may still be ours: another client wrote under it.
        return Ownership.NONE
    if not gone and not capabilities_of(target.backend).keeps_marks:
        return Ownership(entry.ownership) if _is_noted(target, entry, seen) else Ownership.NONE
    if gone or (_is_marked(target, seen, (entry.secret_uuid, secret)) and is_same_secret(entry, seen)):
        return Ownership(entry.ownership)
    return Ownership.NONE


def is_same_secret(entry: SyncEntry, seen: SecretMetadata | None) -> bool:
    """Return whether this is the secret that the entry is about, not another one of the same name."""
    return seen is None or not seen.remote_id or entry.remote_id in {"", seen.remote_id}


def replaced_other_secret(entry: SyncEntry) -> bool:
    """Return whether our write replaced another writer's secret of this name."""
    return entry.state == DeliveryState.FAILED and entry.reason.startswith(OVERWROTE)


def waits_for_adoption(entry: SyncEntry) -> bool:
    """Return whether our entry claims a secret that only its adoption makes ours again."""
    return entry.state == DeliveryState.OWNERSHIP_LOST or replaced_other_secret(entry)


def last_synced(entry: SyncEntry | None) -> Base | None:
    """Return what was last synced, if that is known."""
    if entry is None or not (entry.base_keeper and entry.base_target):
        return None
    return Base(keeper=entry.base_keeper, target=entry.base_target)


def intended_base(entry: SyncEntry | None) -> Base | None:
    """Return the last synced state that our write would have made, if its outcome was not stored."""
    if entry is None or not (entry.intended_keeper and entry.intended_target):
        return None
    return Base(keeper=entry.intended_keeper, target=entry.intended_target)


def awaits_look(entry: SyncEntry | None) -> bool:
    """Return whether a write was answered of which no look has shown yet what became of it."""
    return (
        entry is not None
        and entry.state == DeliveryState.UNKNOWN
        and bool(entry.intended_keeper and entry.intended_target)
    )


def is_stale(target: Target, entry: SyncEntry | None, seen: SecretMetadata | None) -> bool:
    """Return whether a look is older than a write that was answered: it proves nothing.

    So is one that shows what was there before the last synced version, of a node that lags. After
    PASSES_UNTIL_ALERT passes, which is alerted, what the looks show is believed; not within _LAG of a write.
    """
    if entry is None:
        return False
    if not awaits_look(entry):
        return _is_behind(target, entry, seen) and (
            entry.undelivered < PASSES_UNTIL_ALERT
            or (entry.synced_at is not None and entry.synced_at > database_now() - _LAG)
        )
    if entry.undelivered >= PASSES_UNTIL_ALERT:
        return False
    if seen is None or (seen.version == entry.base_target != ""):
        return True
    return backend_of(target.backend).is_older(seen, entry.intended_target)


def _is_behind(target: Target, entry: SyncEntry, seen: SecretMetadata | None) -> bool:
    # In another state, what was shown was believed already.
    if seen is None or seen.presence is not Presence.PRESENT or entry.state not in _SETTLED:
        return False
    foreign = seen.mark is not None and not _is_marked(target, seen, (entry.secret_uuid, None))
    return not foreign and backend_of(target.backend).is_behind(seen, entry.base_target)


def target_side(entry: SyncEntry | None, seen: SecretMetadata | None) -> Side:
    """Return the target's side for `reconcile`.

    Another secret of the same name has another version, unless that very version was found equal.
    """
    if seen is None:
        return Side(presence=Presence.UNLISTED)
    another = entry is not None and not is_same_secret(entry, seen) and seen.version != entry.base_target
    return Side(
        presence=seen.presence,
        version=f"{seen.remote_id} {seen.version}" if another else seen.version,
        expired=seen.expired,
    )


def _is_noted(target: Target, entry: SyncEntry, seen: SecretMetadata | None) -> bool:
    """Return whether our entry alone proves a secret ours: it is the very one, or what our creation made."""
    if seen is None:
        return False
    if entry.remote_id:
        return bool(entry.remote_id == seen.remote_id)
    return bool(entry.intended_keeper) and backend_of(target.backend).is_write_of(seen, entry.intended_target)


def _is_marked(target: Target, seen: SecretMetadata | None, secrets: tuple[UUID | None, UUID | None]) -> bool:
    mark = seen.mark if seen else None
    return (
        mark is not None
        and mark.deployment == deployment_uuid()
        and mark.target == target.uuid
        and mark.secret in secrets
    )
