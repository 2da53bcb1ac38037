"""The audit log in the admin: to look at, never to change."""

from typing import TYPE_CHECKING, Any

from auditlog.admin import LogEntryAdmin
from auditlog.models import LogEntry
from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from audit_app.admin_filters import names_hidden
from audit_app.interfaces.access_policy import viewer_of
from audit_app.models import (
    AuditEvent,
    Checkpoint,
    Deployment,
    Installation,
    ReadManifest,
    ReadManifestItem,
    RefusalCount,
    SinkState,
    StreamCursor,
    StreamHead,
)
from audit_app.queries.access_log import record_view

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:  # generic to the type checker only
    ModelAdmin = admin.ModelAdmin


class ReadOnlyAdmin(ModelAdmin):
    """Shows rows without any way to add, change or delete them; binary columns are left out."""

    actions = None
    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: only Keeper writes here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: only Keeper writes here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: only Keeper writes here."""
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse to filter by columns that are never shown."""
        return not names_hidden(self, lookup) and super().lookup_allowed(lookup, value, request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Return the columns that are text for people."""
        fields = self.model._meta.concrete_fields
        return [field.name for field in fields if not isinstance(field, models.BinaryField)]


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Events, newest first."""

    list_display = ("at", "stream", "sequence", "actor_name", "action", "object_name", "outcome", "address")
    list_filter = ("outcome", "actor_kind")
    search_fields = ("=object_name", "=actor_name", "=action", "=stream")
    search_help_text = "An exact object, actor, action or stream"
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> "models.QuerySet[AuditEvent]":
        """Record that the audit log is read, and return it."""
        record_view(viewer=viewer_of(request), face="admin", wanted=dict(request.GET.items()))
        return super().get_queryset(request)


admin.site.unregister(LogEntry)


@admin.register(LogEntry)
class HistoryAdmin(LogEntryAdmin):  # type: ignore[misc]  # without stubs
    """The history of configuration as django-auditlog shows it, whose search asks for names users lack."""

    search_fields = ("=object_repr", "=actor__username")
    search_help_text = "An exact object or username"


@admin.register(Installation)
class InstallationAdmin(ReadOnlyAdmin):
    """Which installation acts on this database."""

    list_display = ("uuid", "epoch", "since", "backup", "restored_at")


@admin.register(StreamHead)
class StreamHeadAdmin(ReadOnlyAdmin):
    """How far each stream has come."""

    list_display = ("stream", "sequence")


@admin.register(ReadManifest)
class ReadManifestAdmin(ReadOnlyAdmin):
    """What reads of many took along."""

    list_display = ("digest", "size")
    ordering = ("-id",)


@admin.register(ReadManifestItem)
class ReadManifestItemAdmin(ReadOnlyAdmin):
    """The versions in each manifest."""

    list_display = ("name", "number", "secret_uuid", "manifest")
    list_select_related = ("manifest",)
    search_fields = ("=name", "=secret_uuid")
    ordering = ("-id",)


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin):
    """The signed statements of all heads."""

    list_display = ("number", "at", "key_id")
    ordering = ("-number",)


@admin.register(SinkState)
class SinkStateAdmin(ReadOnlyAdmin):
    """How far each sink has come."""

    list_display = ("name", "position", "succeeded_at", "failures", "error")


@admin.register(StreamCursor)
class StreamCursorAdmin(ReadOnlyAdmin):
    """How far each stream has gone out to each sink of events."""

    list_display = ("sink", "stream", "sequence")
    list_select_related = ("sink",)


@admin.register(RefusalCount)
class RefusalCountAdmin(ReadOnlyAdmin):
    """Refusals of the minutes that are not yet recorded."""

    list_display = ("minute", "address", "kind", "count")
    ordering = ("-minute",)


@admin.register(Deployment)
class DeploymentAdmin(ReadOnlyAdmin):
    """The installation itself."""

    list_display = ("uuid", "created_at")
