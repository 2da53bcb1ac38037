"""Sync in the admin: targets and their history, to look at; nothing sealed is among the columns."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from environments_app.authentication import principal_of
from environments_app.errors import AccessError
from environments_app.service_admin import ServiceAdmin
from secrets_app.errors import SecretError
from sync_app.errors import SyncError
from sync_app.models import (
    Acknowledgement,
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
from sync_app.rotation import policies as rotation_policies
from sync_app.rotation.asking import request_rotation


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
    # A keyed digest, which tells nobody anything.
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
    actions = ("rotate_now", "suspend")  # type: ignore[assignment]  # as the stubs have it: none

    @admin.action(description="Rotate now", permissions=["view"])
    def rotate_now(self, request: HttpRequest, policies: QuerySet[RotationPolicy]) -> None:
        """Ask for a rotation of each: who administers may not by that alone, and is told so."""
        self._each(request, policies, request_rotation, done="asked for")

    @admin.action(description="Suspend", permissions=["view"])
    def suspend(self, request: HttpRequest, policies: QuerySet[RotationPolicy]) -> None:
        """Let no rotation of these begin until they are resumed; one that is at work goes on to its end."""
        self._each(request, policies, rotation_policies.suspend, done="suspended")

    def _each(
        self,
        request: HttpRequest,
        chosen: QuerySet[RotationPolicy],
        use_case: Callable[..., object],
        *,
        done: str,
    ) -> None:
        """Do one thing to each by itself, and tell which were done and why others were not."""
        actor, named = principal_of(request), []
        for policy in chosen.select_related("environment", "secret__environment"):
            name = f"{policy.environment.name}/{policy.secret.name}"
            try:
                use_case(actor=actor, policy=policy)
            except (SyncError, AccessError, SecretError) as error:
                self.message_user(request, f"{name}: {error}", messages.WARNING)
            else:
                named.append(name)
        if named:
            self.message_user(request, f"{done.capitalize()}: {', '.join(named)}.", messages.SUCCESS)

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
    """Which version each consumer says it uses."""

    list_display = ("consumer_name", "instance", "secret_id", "number", "acknowledged_at")
    search_fields = ("consumer_name", "instance")
