"""Sync in the admin: targets and their history, to look at; nothing sealed is among the columns."""

from collections.abc import Callable
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

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
            "To look first, make a plan on the target's page.",
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


@admin.register(SyncEntry)
class SyncEntryAdmin(ServiceAdmin):
    """What Keeper knows of each name at each target."""

    list_display = ("name", "target", "ownership", "state", "reason", "checked_at", "synced_at")
    list_filter = ("state", "ownership", "target")
    list_select_related = ("target",)
    search_fields = ("name",)


@admin.register(Plan)
class PlanAdmin(ServiceAdmin):
    """Plans: what passes would do, and how far they were carried out."""

    list_display = ("id", "target", "kind", "state", "made_by", "created_at", "finished_at", "error")
    list_filter = ("state", "kind", "target")
    list_select_related = ("target",)


@admin.register(PlanItem)
class PlanItemAdmin(ServiceAdmin):
    """What a plan does with one secret."""

    list_display = ("name", "plan", "act", "reason", "state", "attempts", "error", "finished_at")
    list_filter = ("act", "state")
    list_select_related = ("plan",)
    search_fields = ("name",)
    # A keyed digest, which reveals nothing.
    hidden: ClassVar[frozenset[str]] = frozenset({"token"})


@admin.register(Run)
class RunAdmin(ServiceAdmin):
    """Runs: who asked for what, who holds it, and how it ended."""

    list_display = (
        "id",
        "target",
        "kind",
        "state",
        "trigger",
        "actor_name",
        "finished",
        "total",
        "failed",
        "created_at",
        "error",
    )
    list_filter = ("state", "kind", "trigger", "target")
    list_select_related = ("target",)


@admin.register(ReferenceConsent)
class ReferenceConsentAdmin(ServiceAdmin):
    """Which environment's values may be filled in for which target; managers give and withdraw."""

    list_display = ("environment", "prefix", "target", "given_by", "created_at")
    list_filter = ("environment", "target")
    list_select_related = ("environment", "target")


@admin.register(SyncPause)
class SyncPauseAdmin(ServiceAdmin):
    """Whether all of the sync is paused; its page pauses and resumes."""

    list_display = ("paused_by", "paused_at")


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
            "The present one works until its grace ends.",
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


@admin.register(Rotation)
class RotationAdmin(ServiceAdmin):
    """Rotations: who asked, who holds them, how far they came, and why they stopped."""

    list_display = (
        "id",
        "policy",
        "step",
        "trigger",
        "emergency",
        "actor_name",
        "queued_at",
        "promoted_at",
        "finished_at",
        "stopped_at",
        "problem",
    )
    list_filter = ("step", "trigger", "emergency")
    list_select_related = ("policy",)


@admin.register(Acknowledgement)
class AcknowledgementAdmin(ServiceAdmin):
    """The version that each consumer confirmed."""

    list_display = ("consumer_name", "instance", "secret_id", "number", "acknowledged_at")
    search_fields = ("consumer_name", "instance")


@admin.register(KeptCopy)
class KeptCopyAdmin(ServiceAdmin):
    """What a write under way is about to destroy in a target, sealed; it goes once the write is settled."""

    list_display = ("name", "target", "version", "created_at")
    list_select_related = ("target",)
