"""Targets and rotation policies after a restore: suspended, and asked what has changed since the backup."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Q

from environments_app.environments.restore_suspension import RestoreSuspension
from environments_app.errors import AccessError
from secrets_app.errors import SecretError
from secrets_app.services.read import current_version_of
from sync_app.domain.delivery_state import DeliveryState
from sync_app.errors import SyncError
from sync_app.models import RotationPolicy, Target
from sync_app.planning import service as planning
from sync_app.rotation.policies.credentials import open_policy, policy_principal
from sync_app.rotators.base import LoginAnswer
from sync_app.targets.credentials import open_backend, target_principal

# Refusals of other systems and of Keeper's own checks; reported for the row concerned.
_CONDITIONS = (SyncError, AccessError, SecretError)
_CHANGED = (DeliveryState.DRIFTED, DeliveryState.CONFLICT, DeliveryState.MISSING)

TARGETS = RestoreSuspension(
    Target,
    kind="target",
    field="paused_at",
    related=("environment",),
    name=lambda target: str(target.name),
    detail=lambda target: f"{target.direction}, {target.system}",
    living=Q(live=True),
)
POLICIES = RestoreSuspension(
    RotationPolicy,
    kind="rotation-policy",
    field="suspended_at",
    related=("environment", "secret"),
    name=lambda policy: str(policy.secret.name),
    detail=lambda policy: str(policy.rotator),
    living=Q(live=True),
)


def rotated_since(since: datetime) -> Iterator[str]:
    """Yield a line for each login that does not accept the restored value, or could not be asked.

    Goes over the network; each opening is recorded.
    """
    policies = RotationPolicy.objects.filter(live=True, suspended_at=since)
    for policy in policies.select_related("environment", "secret__environment").order_by("pk").iterator():
        what = f"{policy.environment.name}: {policy.secret.name}"
        try:
            version = current_version_of(policy.secret)
            opened = open_policy(actor=policy_principal(policy), policy=policy, versions=[version])
            probe = opened.rotator.probe(opened.values[version.number])
        except _CONDITIONS as error:
            yield f"{what} could not be tried: {error}"
            continue
        if probe.answer is LoginAnswer.REFUSED:
            yield f"{what} was rotated since the backup: its login refuses the restored value"
        elif probe.answer is LoginAnswer.UNKNOWN:
            yield f"{what} is not known to work: {probe.why}"


def changed_in_targets(since: datetime) -> Iterator[str]:
    """Yield a line for each secret that a paused target holds otherwise than was last synced.

    By metadata alone; goes over the network, and each opening of credentials is recorded.
    """
    targets = Target.objects.filter(live=True, paused_at=since)
    for target in targets.select_related("environment").order_by("pk").iterator():
        what = f"{target.environment.name}: target {target.name}"
        try:
            with open_backend(actor=target_principal(target), target=target) as backend:
                planning.refresh_states(target, backend=backend)
        except _CONDITIONS as error:
            yield f"{what} could not be asked: {error}"
            continue
        for entry in target.entries.filter(state__in=_CHANGED).order_by("name").iterator():
            yield f"{what}: {entry.name} is {DeliveryState(entry.state)} there"
