"""What workers found of other systems, to look at."""

from django.urls import reverse

from audit_app.admin_pages.attention import Attention
from audit_app.admin_pages.base import read_only
from keeper_project.models import BackupRequest, ExternalSystem, SystemState

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
