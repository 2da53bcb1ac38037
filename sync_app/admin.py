"""Sync in the admin: targets and their history, to look at; nothing sealed is among the columns."""

from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest

from audit_app.admin import read_only
from environments_app.admin.base import ServiceAdmin
from environments_app.errors import AccessError
from secrets_app.errors import SecretError
from sync_app import admin_acts
from sync_app.errors import SyncError
from sync_app.models import (
    Acknowledgement,
    KeptCopy,
    Plan,
    PlanItem,
    ReferenceConsent,
    Rotation,
    RotationPolicy,
    Run,
    SyncEntry,
    SyncPause,
    Target,
)

REFUSALS: Final = (SyncError, AccessError, SecretError)


@admin.register(Target)
class TargetAdmin(ServiceAdmin):
    """Targets, living and removed."""

    list_display = (
        "name",
        "environment",
        "backend",
        "place",
        "direction",
        "automatic",
        "paused_at",
        "last_success_at",
        "last_error",
        "live",
    )
    list_filter = ("environment", "backend", "live", "automatic")
    list_select_related = ("environment",)
    search_fields = ("name", "place")
    refusals = REFUSALS

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave the sealed credentials in the database."""
        return super().get_queryset(request).defer("credentials")


read_only(
    SyncEntry,
    "name target ownership state reason checked_at synced_at",
    filters="state ownership target",
    joined="target",
    search="name",
)
read_only(
    Plan,
    "id target kind state made_by created_at finished_at error",
    filters="state kind target",
    joined="target",
)
# A keyed digest, which reveals nothing.
read_only(
    PlanItem,
    "name plan act reason state attempts error finished_at",
    filters="act state",
    joined="plan",
    search="name",
    hidden="token",
)
read_only(
    Run,
    "id target kind state trigger actor_name finished total failed created_at error",
    filters="state kind trigger target",
    joined="target",
)
read_only(
    ReferenceConsent,
    "environment prefix target given_by created_at",
    filters="environment target",
    joined="environment target",
)
read_only(SyncPause, "paused_by paused_at")


@admin.register(RotationPolicy)
class RotationPolicyAdmin(ServiceAdmin):
    """Rotation policies, living and removed."""

    list_display = (
        "id",
        "secret_id",
        "environment",
        "rotator",
        "endpoint",
        "interval_seconds",
        "cron",
        "due_at",
        "last_rotated_at",
        "suspended_at",
        "live",
    )
    list_filter = ("environment", "rotator", "live")
    list_select_related = ("environment", "secret__environment")
    refusals = REFUSALS

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave the sealed credential in the database."""
        return super().get_queryset(request).defer("credentials")


read_only(
    Rotation,
    "id policy step trigger emergency actor_name queued_at promoted_at finished_at stopped_at problem",
    filters="step trigger emergency",
    joined="policy",
)
read_only(
    Acknowledgement,
    "consumer_name instance secret_id number acknowledged_at",
    search="consumer_name instance",
)
read_only(KeptCopy, "name target version created_at", joined="target")

admin_acts.register()
