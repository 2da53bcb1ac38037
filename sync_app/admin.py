"""Sync in the admin: targets and their history, to look at; nothing sealed is among the columns."""

from datetime import timedelta
from operator import attrgetter
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from audit_app.admin_pages.base import OperatorAdmin, ReadOnlyAdmin, read_only
from audit_app.admin_pages.filters import Attention, period_of
from audit_app.admin_pages.lists import state
from environments_app.admin.acts import offer
from environments_app.admin.base import ServiceAdmin
from environments_app.errors import AccessError
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable, SecretError
from secrets_app.models import Secret
from sync_app import acts
from sync_app.domain.delivery_state import ALERTING, DeliveryState
from sync_app.domain.rotation_state import Slot
from sync_app.errors import SyncError
from sync_app.models import (
    Acknowledgement,
    KeptCopy,
    Migration,
    MigrationLine,
    MountRule,
    Plan,
    PlanItem,
    ReferenceConsent,
    Rotation,
    RotationPolicy,
    Run,
    SourceCredentials,
    SyncEntry,
    SyncPause,
    Target,
)
from sync_app.models.run import RunState
from sync_app.rotation.status import status_condition

# So many of the newest runs are looked through for failed ones.
_NEWEST_RUNS: Final = 5_000
REFUSALS: Final = (SyncError, AccessError, SecretError)


def _failing(rows: QuerySet[Target]) -> QuerySet[Target]:
    return rows.filter(live=True).exclude(last_error="")


def _drifted(rows: QuerySet[SyncEntry]) -> QuerySet[SyncEntry]:
    return rows.filter(target__live=True, state=DeliveryState.DRIFTED)


def _undelivered(rows: QuerySet[SyncEntry]) -> QuerySet[SyncEntry]:
    return rows.filter(target__live=True, state__in=sorted(ALERTING - {DeliveryState.DRIFTED}))


def _failed_runs(rows: QuerySet[Run]) -> QuerySet[Run]:
    """Return the failed of the newest runs, which no column has an index for."""
    newest = Run.objects.order_by("-pk").values("pk")[:1]
    return rows.filter(
        pk__gt=Subquery(newest) - _NEWEST_RUNS,
        state=RunState.FAILED,
        created_at__gte=timezone.now() - timedelta(days=1),
    )


def _run_page(run: Run) -> str:
    if run.plan_id:
        return reverse("plan-detail", args=[run.plan_id])
    return reverse("target-detail", args=[run.target_id])


def _overdue(rows: QuerySet[RotationPolicy]) -> QuerySet[RotationPolicy]:
    return rows.filter(status_condition("overdue", timezone.now()), live=True)


def _stopped(rows: QuerySet[Rotation]) -> QuerySet[Rotation]:
    return rows.filter(slot=Slot.WORKING, stopped_at__isnull=False)


@admin.register(Target)
class TargetAdmin(ServiceAdmin):
    """Targets, living and removed."""

    list_display = (
        "name",
        "environment",
        "backend",
        "place",
        "direction",
        "status",
        "last_success_at",
        "last_error",
    )
    list_filter = ("environment", "backend", "live", "automatic")
    list_select_related = ("environment",)
    search_fields = ("name", "place")
    refusals = REFUSALS
    attention = (
        Attention(key="failing", label="targets failing", rows=_failing, tone="bad"),
        Attention(
            key="paused",
            label="targets paused",
            rows=lambda rows: rows.filter(live=True, paused_at__isnull=False),
            tone="info",
        ),
    )

    # Each kind of system has an act that adds one.
    absent = frozenset({"delete"})

    def page_of(self, obj: Any) -> str | None:
        return reverse("target-detail", args=[obj.pk])

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow adding to administrators; each kind of system has an act for it."""
        return super(ServiceAdmin, self).has_add_permission(request)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Lead to the form of each kind of system."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        name = f"{self.admin_site.name}:sync_app_target_act"
        context = {
            **self.admin_site.each_context(request),
            "title": "Add a target",
            "opts": self.opts,
            "kinds": [(act.label, reverse(name, args=[act.name])) for act in acts.NEW_TARGETS],
        }
        return TemplateResponse(request, "admin/target_kinds.html", context)

    @admin.display(description="status")
    def status(self, target: Target) -> str:
        """Return whether the target works, as icon and word."""
        if not target.live:
            return state("deleted", "removed")
        if target.paused_at:
            return state("paused")
        return state("failed" if target.last_error else "active")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave the sealed credentials in the database."""
        return super().get_queryset(request).defer("credentials")


read_only(
    SyncEntry,
    "name target ownership state reason checked_at synced_at",
    filters="target state",
    joined="target",
    search="=name",
    page=lambda row: reverse("target-detail", args=[row.target_id]),
    attention=(
        Attention(key="drifted", label="secrets drifted", rows=_drifted),
        Attention(
            key="undelivered",
            label="deliveries failed, missing or in conflict",
            rows=_undelivered,
            tone="bad",
        ),
    ),
)
read_only(
    Plan,
    "__str__ target kind state made_by created_at finished_at error",
    search="=target__name =made_by",
    period="created_at",
    filters="state kind target",
    joined="target",
    page=lambda row: reverse("plan-detail", args=[row.pk]),
)
# A keyed digest, which reveals nothing.
read_only(
    PlanItem,
    "name plan act reason state attempts error finished_at",
    joined="plan",
    search="=name",
    hidden="token",
    page=lambda row: reverse("plan-item", args=[row.plan_id, row.pk]),
)
read_only(
    Run,
    "__str__ target state trigger actor_name failed created_at error",
    search="=target__name =actor_name =request_id",
    period="created_at",
    filters="state kind trigger target",
    joined="target",
    page=_run_page,
    attention=(
        Attention(key="failed", label="runs failed in the last 24 hours", rows=_failed_runs, tone="bad"),
    ),
)
read_only(
    Migration,
    "__str__ environment state actor_name plan created_at ended_at error",
    search="=endpoint =actor_name",
    period="created_at",
    filters="state environment",
    joined="environment",
    page=lambda row: reverse("migration-detail", args=[row.pk]),
)
read_only(
    MigrationLine,
    "path place name word state reason migration",
    search="=path =name",
    filters="word state",
    joined="migration",
    page=lambda row: reverse("migration-detail", args=[row.migration_id]),
)
read_only(MountRule, "mount folder environment created_at", filters="environment", joined="environment")
read_only(
    SourceCredentials,
    "migration environment created_at",
    joined="migration environment",
    hidden="credentials",
)
read_only(
    ReferenceConsent,
    "environment prefix target given_by created_at",
    search="=target__name",
    filters="environment target",
    joined="environment target",
    page=lambda row: reverse("consents", args=[row.environment.name]),
)
read_only(
    SyncPause,
    "paused_by paused_at",
    attention=(Attention(key="paused", label="pauses of all sync", rows=lambda rows: rows),),
)


class SecretNamed(OperatorAdmin):
    """Rows by the names of their secrets, of which a purged one leaves its UUID."""

    # How a row leads to that UUID.
    uuid_path: ClassVar[str] = "secret_id"

    @admin.display(description="secret")
    def secret_name(self, row: Any) -> str:
        return getattr(row, "secret_name", None) or str(attrgetter(self.uuid_path.replace("__", "."))(row))

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return rows with the name of their secret: a join would leave out those of a purged one."""
        names = Secret.objects.filter(uuid=OuterRef(self.uuid_path)).values("name")
        return super().get_queryset(request).annotate(secret_name=Subquery(names[:1]))


@admin.register(RotationPolicy)
class RotationPolicyAdmin(SecretNamed, ServiceAdmin):
    """Rotation policies, living and removed."""

    list_display = (
        "secret_name",
        "environment",
        "rotator",
        "interval_seconds",
        "due_at",
        "last_rotated_at",
        "suspended_at",
        "live",
    )
    list_filter = ("environment", "rotator", "live")
    list_select_related = ("environment",)
    search_fields = ("=secret__name", "endpoint")
    refusals = REFUSALS
    attention = (Attention(key="overdue", label="rotations overdue", rows=_overdue, tone="bad"),)

    def page_of(self, obj: Any) -> str | None:
        return reverse("rotation-policy", args=[obj.pk])

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave the sealed credential in the database."""
        return super().get_queryset(request).defer("credentials")


@admin.register(Rotation)
class RotationAdmin(SecretNamed, ReadOnlyAdmin):
    """Rotations, newest first, by the secrets that they rotate."""

    uuid_path = "policy__secret_id"
    list_display = (
        "__str__",
        "secret_name",
        "step",
        "trigger",
        "actor_name",
        "queued_at",
        "finished_at",
        "problem",
    )
    list_filter = (period_of("queued_at"), "step")
    list_select_related = ("policy",)
    search_fields = ("=actor_name", "=request_id")
    ordering = ("-pk",)
    sortable_by = ()
    attention = (Attention(key="stopped", label="rotations stopped", rows=_stopped, tone="bad"),)

    def page_of(self, obj: Any) -> str | None:
        return reverse("rotation-policy", args=[obj.policy_id])


@admin.register(Acknowledgement)
class AcknowledgementAdmin(SecretNamed, ReadOnlyAdmin):
    """Which version each consumer uses."""

    list_display = ("consumer_name", "instance", "secret_name", "number", "acknowledged_at")
    search_fields = ("=consumer_name", "=instance")
    ordering = ("-pk",)
    sortable_by = ()


read_only(KeptCopy, "name target version created_at", joined="target")

_REFUSALS: Final = (SyncError, SecretError, EnvelopeError, KeyUnavailable, KeyRefused)
offer(Target, *acts.TARGETS, refusals=_REFUSALS)
offer(Plan, *acts.PLANS, refusals=_REFUSALS)
offer(RotationPolicy, *acts.POLICIES, refusals=_REFUSALS)
