"""Sections of reports on delivery and rotation: how targets stand, and what policies did."""

from collections.abc import Iterator
from typing import Final

from django.db.models import Count, Q
from django.utils import timezone

from audit_app.actions import Action
from audit_app.reports import Row, Scope, Section
from environments_app.report_sections import environments_of
from secrets_app.report_sections import batched
from sync_app.models import RotationPolicy, Target
from sync_app.states import State

_WRONG: Final = (State.DRIFTED, State.CONFLICT, State.MISSING, State.FAILED)


def _sync(scope: Scope) -> Iterator[Row]:
    rows = Target.objects.filter(live=True, environment__in=environments_of(scope, Action.TARGET_VIEW))
    counted = rows.defer("credentials").annotate(
        in_sync=Count("entries", filter=Q(entries__state=State.IN_SYNC)),
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
    now = timezone.now()
    places = environments_of(scope, Action.SECRET_VIEW)
    rows = RotationPolicy.objects.filter(live=True, environment__in=places).defer("credentials")
    for policy in batched(rows.select_related("environment", "secret")):
        late = policy.due_at is not None and policy.due_at <= now
        yield (
            policy.environment.name,
            policy.secret.name,
            policy.rotator,
            policy.cron
            or (f"every {policy.interval_seconds // 3600} h" if policy.interval_seconds else "by hand"),
            policy.last_rotated_at,
            policy.due_at,
            "suspended" if policy.suspended_at else "overdue" if late else "on time",
        )


SECTIONS: Final = (
    Section(
        key="rotation",
        title="Rotation",
        about="Every rotation policy: how often, when it last rotated, and when it will.",
        columns=("Environment", "Secret", "Rotator", "Cadence", "Last rotated", "Due", "State"),
        rows=_rotation,
    ),
    Section(
        key="sync",
        title="Health of the sync",
        about="Every target: whether it is reached, and how many of its secrets are as they should be.",
        columns=(
            "Environment", "Target", "System", "Direction", "Mode", "Last success", "Last failure",
            "Failures in a row", "In sync", "Not as it should be", "Last error",
        ),
        rows=_sync,
    ),
)  # fmt: skip
