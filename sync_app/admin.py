"""Sync in the admin: targets and their history, to look at; nothing sealed is among the columns."""

from collections.abc import Callable
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from audit_app.admin import read_only
from environments_app.admin.base import ServiceAdmin
from environments_app.admin.bulk_actions import run_for_each
from environments_app.errors import AccessError
from secrets_app.errors import SecretError
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
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies import service as rotation_policies
from sync_app.runs import runner as runs_runner
from sync_app.targets import service as targets

REFUSALS: Final = (SyncError, AccessError, SecretError)


def _target_name(target: Target) -> str:
    return f"{target.environment.name}/{target.name}"


def _secret_name(policy: RotationPolicy) -> str:
    return f"{policy.environment.name}/{policy.secret.name}"


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
    actions = ("sync_now", "pause", "resume")  # type: ignore[assignment]  # as the stubs have it: none

    @admin.action(description="Sync now", permissions=["view"])
    def sync_now(self, request: HttpRequest, chosen: QuerySet[Target]) -> HttpResponse | None:
        """Request a pass for each; administering alone is not sufficient, and the message states it."""
        return self._each(
            request,
            chosen,
            runs_runner.request_sync,
            done="Asked for",
            asks="Keeper plans and carries out at once what the rules of each target allow. "
            "To review the changes first, create a plan on the target's page.",
        )

    @admin.action(description="Pause", permissions=["view"])
    def pause(self, request: HttpRequest, chosen: QuerySet[Target]) -> HttpResponse | None:
        """Let nothing be synced with these until they are resumed."""
        return self._each(request, chosen, targets.pause, done="Paused")

    @admin.action(description="Resume", permissions=["view"])
    def resume(self, request: HttpRequest, chosen: QuerySet[Target]) -> HttpResponse | None:
        """Let these be synced again."""
        return self._each(request, chosen, targets.resume, done="Resumed")

    def _each(
        self, request: HttpRequest, chosen: QuerySet[Target], use_case: Callable[..., object], **told: str
    ) -> HttpResponse | None:
        return run_for_each(self, request, chosen, use_case, takes="target", named=_target_name, **told)

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
    list_select_related = ("environment",)
    refusals = REFUSALS
    actions = ("rotate_now", "suspend", "resume")  # type: ignore[assignment]  # as the stubs have it: none

    @admin.action(description="Rotate now", permissions=["view"])
    def rotate_now(self, request: HttpRequest, policies: QuerySet[RotationPolicy]) -> HttpResponse | None:
        """Request a rotation for each; administering alone is not sufficient, and the message states it."""
        return self._each(
            request,
            policies,
            request_rotation,
            done="Asked for",
            asks="Each idle login gets a new value, which is tested and then served. "
            "The previous value works until its overlap ends.",
        )

    @admin.action(description="Suspend", permissions=["view"])
    def suspend(self, request: HttpRequest, policies: QuerySet[RotationPolicy]) -> HttpResponse | None:
        """Let no rotation of these begin until they are resumed; one that is at work continues to its end."""
        return self._each(request, policies, rotation_policies.suspend, done="Suspended")

    @admin.action(description="Resume", permissions=["view"])
    def resume(self, request: HttpRequest, policies: QuerySet[RotationPolicy]) -> HttpResponse | None:
        """Let the rotations of these begin again."""
        return self._each(request, policies, rotation_policies.resume, done="Resumed")

    def _each(
        self,
        request: HttpRequest,
        chosen: QuerySet[RotationPolicy],
        use_case: Callable[..., object],
        **told: str,
    ) -> HttpResponse | None:
        rows = chosen.select_related("environment", "secret__environment")
        return run_for_each(self, request, rows, use_case, takes="policy", named=_secret_name, **told)

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
