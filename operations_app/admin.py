"""What workers found of other systems, to look at."""

from django.urls import reverse

from audit_app.admin_pages.base import read_only
from audit_app.admin_pages.filters import Attention
from operations_app.models import BackupRequest, ExternalSystem, RunningProcess, ScheduledTask, SystemState

read_only(
    ExternalSystem,
    "kind state detail milliseconds failures checked_at changed_at",
    page=lambda _row: reverse("health"),
    attention=(
        Attention(
            key="failing",
            label="systems needing attention",
            rows=lambda rows: rows.filter(state__in=[SystemState.DEGRADED, SystemState.UNHEALTHY]),
            tone="bad",
        ),
    ),
)
read_only(
    BackupRequest, "requested_at person name attempts lease_until", page=lambda _row: reverse("backups")
)
read_only(
    ScheduledTask,
    "task started_at milliseconds error failures requested_at requested_by",
    page=lambda _row: f"{reverse('admin-system')}?tab=schedules",
    attention=(
        Attention(
            key="failing",
            label="scheduled tasks failing",
            rows=lambda rows: rows.filter(failures__gt=0),
            tone="bad",
        ),
    ),
)
read_only(
    RunningProcess, "kind host release seen_at name", page=lambda _row: f"{reverse('admin-system')}?tab=work"
)
