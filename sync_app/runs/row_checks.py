"""The integrity checks of sync: deciding rows are genuine, and credentials open."""

from collections.abc import Iterator
from typing import Final, TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import Problem
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.integrity.row_state import latest_digests, mismatches
from secrets_app.errors import KeyUnavailable
from sync_app.models import (
    Acknowledgement,
    Plan,
    ReferenceConsent,
    Rotation,
    RotationPolicy,
    Run,
    SyncEntry,
    Target,
)
from sync_app.targets.destinations import overlapping_targets

Row = TypeVar("Row", bound=AuthenticatedRow)

_BATCH: Final = 500
_CHANGES: Final = (
    Action.RESTORE_SUSPEND,
    Action.RESTORE_RELEASE,
    Action.TARGET_CREATE,
    Action.TARGET_CHANGE,
    Action.TARGET_PAUSE,
    Action.TARGET_REMOVE,
)

_POLICY_CHANGES: Final = (
    Action.RESTORE_SUSPEND,
    Action.RESTORE_RELEASE,
    Action.ROTATION_CREATE,
    Action.ROTATION_CHANGE,
    Action.ROTATION_SUSPEND,
    Action.ROTATION_REMOVE,
)


def targets() -> Iterator[Problem]:
    """Find targets that were edited, or put back to an older state, or whose credentials do not open."""
    yield from _overlaps()
    for batch in _batches(Target, "environment"):
        genuine = [target for target in batch if target.is_authentic()]
        yield from (_edited(target) for target in batch if target not in genuine)
        yield from mismatches(genuine, latest_digests(_CHANGES, rows=genuine))
        for target in genuine:
            message = _closed(target)
            if message:
                yield Problem(kind="sealed", object=_named(target), message=message)


def rotation_policies() -> Iterator[Problem]:
    """Find policies that were edited, or put back to an older state, or whose credential does not open."""
    for batch in _batches(RotationPolicy, "environment"):
        genuine = [policy for policy in batch if policy.is_authentic()]
        yield from (_edited(policy) for policy in batch if policy not in genuine)
        yield from mismatches(genuine, latest_digests(_POLICY_CHANGES, rows=genuine))
        for policy in genuine:
            message = _closed(policy)
            if message:
                yield Problem(kind="sealed", object=_named(policy), message=message)


def rotations() -> Iterator[Problem]:
    """Find rotations that Keeper did not write."""
    for batch in _batches(Rotation, "policy"):
        yield from (_edited(row) for row in batch if not row.is_authentic())


def acknowledgements() -> Iterator[Problem]:
    """Find words of consumers that Keeper did not write, or older ones that were put back."""
    for batch in _batches(Acknowledgement):
        genuine = [row for row in batch if row.is_authentic()]
        yield from (_edited(row) for row in batch if row not in genuine)
        # The events are about the secret, and name the row beside it.
        yield from mismatches(genuine, latest_digests([Action.ROTATION_ACKNOWLEDGE]))


def work() -> Iterator[Problem]:
    """Find plans and runs that Keeper did not write: in whose name they are, and for which target."""
    for plans in _batches(Plan, "target"):
        yield from (_edited(row) for row in plans if not row.is_authentic())
    for queued in _batches(Run, "target", "plan"):
        yield from (_edited(row) for row in queued if not row.is_authentic())


def entries() -> Iterator[Problem]:
    """Find what Keeper claims to know of secrets in targets and did not write."""
    for batch in _batches(SyncEntry, "target"):
        yield from (_edited(entry) for entry in batch if not entry.is_authentic())


def consents() -> Iterator[Problem]:
    """Find consents that were made or edited outside Keeper, or put back after they were withdrawn."""
    for batch in _batches(ReferenceConsent, "environment"):
        genuine = [consent for consent in batch if consent.is_authentic()]
        yield from (_edited(consent) for consent in batch if consent not in genuine)
        changes = (Action.CONSENT_GIVE, Action.CONSENT_WITHDRAW)
        yield from mismatches(genuine, latest_digests(changes, rows=genuine))


def _batches(model: type[Row], *related: str) -> Iterator[list[Row]]:
    # No join: that would pass over a row whose key was pointed at nothing.
    every: QuerySet[Row] = QuerySet(model).prefetch_related(*related).order_by("pk")
    last = 0
    while batch := list(every.filter(pk__gt=last)[:_BATCH]):
        last = batch[-1].pk
        yield batch


def _overlaps() -> Iterator[Problem]:
    """Find living targets that share a place: Keeper takes none such, but it may know more by now."""
    for target, other in overlapping_targets():
        yield Problem(
            kind="overlap",
            object=_named(target),
            message=f"target {other.name} of {other.environment.name} covers the same place or a part of it: "
            "disconnect one of the two, and remove it",
        )


def _closed(row: Target | RotationPolicy) -> str:
    """Return why the credentials of a target or policy cannot be used; empty if they can."""
    try:
        named = row.credentials.opens() and row.credentials.data_key_id == row.data_key_id
    except ObjectDoesNotExist:
        return "the environment that the credentials were sealed for is missing"
    except KeyUnavailable as error:
        return f"the credentials cannot be checked: {error}"
    return "" if named else "the sealed credentials do not open, or name another data key"


def _edited(row: AuthenticatedRow) -> Problem:
    return Problem(
        kind="edited", object=_named(row), message="the row was not written by Keeper, and does nothing"
    )


def _named(row: AuthenticatedRow) -> str:
    return f"{row.MAC_LABEL} {row.pk} ({row.uuid})"
