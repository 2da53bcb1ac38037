"""The integrity checks of sync: deciding rows are genuine, and credentials open."""

from collections.abc import Iterator
from typing import Final

from django.core.exceptions import ObjectDoesNotExist

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import Problem
from audit_app.integrity.row_state import check_rows, object_name
from secrets_app.errors import KeyUnavailable
from sync_app.models import (
    Acknowledgement,
    Migration,
    MigrationLine,
    MountRule,
    Plan,
    ReferenceConsent,
    Rotation,
    RotationPolicy,
    Run,
    SyncEntry,
    Target,
)
from sync_app.targets.destinations import overlapping_targets

_EDITED: Final = "the row was not written by Keeper, and does nothing"
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
    for target, other in overlapping_targets():
        yield Problem(
            kind="overlap",
            object=object_name(target),
            message=f"target {other.name} of {other.environment.name} covers the same place or a part of it: "
            "disconnect one of the two, and remove it",
        )
    rows = Target.objects.prefetch_related("environment")
    yield from check_rows(rows, _EDITED, _CHANGES, sealed=_explain_unopenable)


def rotation_policies() -> Iterator[Problem]:
    """Find policies that were edited, or put back to an older state, or whose credential does not open."""
    rows = RotationPolicy.objects.prefetch_related("environment")
    yield from check_rows(rows, _EDITED, _POLICY_CHANGES, sealed=_explain_unopenable)


def rotations() -> Iterator[Problem]:
    """Find rotations that Keeper did not write."""
    return check_rows(Rotation.objects.prefetch_related("policy"), _EDITED)


def acknowledgements() -> Iterator[Problem]:
    """Find words of consumers that Keeper did not write, or older ones that were put back."""
    # The events are about the secret, and name the row beside it.
    changes = [Action.ROTATION_ACKNOWLEDGE]
    return check_rows(Acknowledgement.objects.all(), _EDITED, changes, of_the_rows=False)


def work() -> Iterator[Problem]:
    """Find plans and runs that Keeper did not write: in whose name they are, and for which target."""
    yield from check_rows(Plan.objects.prefetch_related("target"), _EDITED)
    yield from check_rows(Run.objects.prefetch_related("target", "plan"), _EDITED)


def entries() -> Iterator[Problem]:
    """Find what Keeper claims to know of secrets in targets and did not write."""
    return check_rows(SyncEntry.objects.prefetch_related("target"), _EDITED)


def migrations() -> Iterator[Problem]:
    """Find migrations and lines that Keeper did not write, and older states that were put back."""
    changes = (Action.MIGRATION_PLAN, Action.MIGRATION_APPLY, Action.MIGRATION_STOP)
    yield from check_rows(Migration.objects.prefetch_related("environment"), _EDITED, changes)
    # The event is about the migration, and names the rule beside it.
    applied = [Action.MIGRATION_APPLY]
    rules = MountRule.objects.prefetch_related("environment")
    yield from check_rows(rules, _EDITED, applied, of_the_rows=False)
    yield from check_rows(MigrationLine.objects.prefetch_related("migration"), _EDITED)


def consents() -> Iterator[Problem]:
    """Find consents that were made or edited outside Keeper, or put back after they were withdrawn."""
    changes = (Action.CONSENT_GIVE, Action.CONSENT_WITHDRAW)
    return check_rows(ReferenceConsent.objects.prefetch_related("environment"), _EDITED, changes)


def _explain_unopenable(row: Target | RotationPolicy) -> str:
    try:
        named = row.credentials.can_decrypt() and row.credentials.data_key_id == row.data_key_id
    except ObjectDoesNotExist:
        return "the environment that the credentials were sealed for is missing"
    except KeyUnavailable as error:
        return f"the credentials cannot be checked: {error}"
    return "" if named else "the sealed credentials do not open, or name another data key"
