"""Sections of reports on delivery and rotation: the status of targets, and the results of policies."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from django.db.models import Count, Q

from audit_app.events.actions import Action
from audit_app.queries.reports import Row, Scope, Section
from environments_app.environments.report_sections import batched, environments_of
from secrets_app.models import Secret
from sync_app.domain.delivery_state import ALERTING, DeliveryState
from sync_app.jobs.leases import database_now
from sync_app.models import RotationPolicy, Target
from sync_app.rotation.status import PolicyStatus, last_ended, policy_status, working_rotations

_POLICIES: Final = 500
_STANDINGS: Final = {
    PolicyStatus.STOPPED: "failed",
    PolicyStatus.RUNNING: "rotating",
    PolicyStatus.GRACE: "overlapping",
    PolicyStatus.SUSPENDED: "suspended",
    PolicyStatus.OVERDUE: "overdue",
    PolicyStatus.DUE: "due",
    PolicyStatus.RESTING: "on time",
    PolicyStatus.BY_HAND: "manual",
}
_WRONG: Final = tuple(sorted(ALERTING))


def _sync(scope: Scope) -> Iterator[Row]:
    rows = Target.objects.filter(live=True, environment__in=environments_of(scope, Action.TARGET_VIEW))
    counted = rows.defer("credentials").annotate(
        in_sync=Count("entries", filter=Q(entries__state=DeliveryState.IN_SYNC)),
        wrong=Count("entries", filter=Q(entries__state__in=_WRONG)),
    )
    for target in batched(counted.select_related("environment")):
        yield (
            target.environment.name,
            target.name,
            target.system,
            target.direction,
            "paused" if target.paused_at else "automatic" if target.automatic else "by hand",
            target.last_success_at,
            target.last_failure_at,
            target.failures,
            target.in_sync,
            target.wrong,
            target.last_error,
        )


def _rotation(scope: Scope) -> Iterator[Row]:
    now = database_now()
    places = environments_of(scope, Action.SECRET_VIEW)
    rows = RotationPolicy.objects.filter(live=True, environment__in=places).defer("credentials")
    policies = batched(rows.select_related("environment", "secret"))
    while batch := list(islice(policies, _POLICIES)):
        working, ended = working_rotations(batch), last_ended(batch)
        for policy in batch:
            rotation, last = working.get(policy.pk), ended.get(policy.pk)
            yield (
                policy.environment.name,
                policy.secret.name,
                policy.rotator,
                policy.cron
                or (f"every {policy.interval_seconds // 3600} h" if policy.interval_seconds else "by hand"),
                policy.last_rotated_at,
                policy.due_at,
                _STANDINGS[policy_status(policy, rotation, now)],
                rotation.problem if rotation and rotation.stopped_at else "",
                last.step.replace("_", " ") if last else "",
                last.seconds_to_serve if last else None,
            )


def _unrotated(scope: Scope) -> Iterator[Row]:
    places = environments_of(scope, Action.SECRET_VIEW)
    managed = RotationPolicy.objects.filter(live=True).values("secret_id")
    rows = Secret.objects.filter(live=True, environment__in=places).exclude(uuid__in=managed)
    for secret in batched(rows.select_related("environment")):
        yield (
            secret.environment.name,
            secret.name,
            secret.secret_type.lower(),
            secret.owner,
            secret.rotated_at,
            secret.rotation_due_at,
        )


SECTIONS: Final = (
    Section(
        key="rotation",
        title="Rotation",
        about="All rotation policies: schedule, last and next rotation, and what is due, overdue or failed.",
        columns=(
            "Environment", "Secret", "Method", "Schedule", "Last rotated", "Due", "Status", "Error",
            "Last result", "Duration (s)",
        ),
        rows=_rotation,
    ),
    Section(
        key="unrotated",
        title="Secrets without rotation",
        about="Secrets without a rotation policy, the age of their value, and those marked as due.",
        columns=("Environment", "Secret", "Type", "Owner", "Last changed", "Marked as due"),
        rows=_unrotated,
    ),
    Section(
        key="sync",
        title="Sync health",
        about="All sync targets, whether Keeper can reach them, and how many secrets are in sync.",
        columns=(
            "Environment", "Target", "System", "Direction", "Mode", "Last success", "Last failure",
            "Consecutive failures", "In sync", "Out of sync", "Last error",
        ),
        rows=_sync,
    ),
)  # fmt: skip
