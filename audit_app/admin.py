"""The audit log in the admin: to look at, never to change."""

from typing import Any

from auditlog.admin import LogEntryAdmin
from auditlog.models import LogEntry
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.urls import reverse

from audit_app.admin_pages.base import OperatorAdmin, ReadOnlyAdmin, read_only
from audit_app.admin_pages.filters import Attention, EventPeriodFilter, ObjectFilter, OutcomeFilter, period_of
from audit_app.events.action_labels import action_name
from audit_app.events.actions import Action
from audit_app.interfaces import audit_log_policy, viewer_of
from audit_app.models import (
    AuditEvent,
    Checkpoint,
    Deployment,
    Installation,
    ManifestUse,
    ReadManifest,
    ReadManifestItem,
    RefusalCount,
    SavedView,
    SearchEntry,
    SearchPosition,
    SecretUse,
    SinkState,
    StreamCursor,
    StreamHead,
    UsageEntry,
    UsagePosition,
)
from audit_app.queries import search_index
from audit_app.queries.access_log import record_view
from audit_app.queries.search import matching
from audit_app.verification.stream_verifier import neighbourhood


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor_name", "action", "object_name", "log", "outcome", "address")
    list_filter = (EventPeriodFilter, OutcomeFilter, ObjectFilter)
    sortable_by = ()
    change_form_template = "admin/audit_event.html"
    # `get_search_results` takes their place.
    search_fields = ("=action", "=stream")
    search_help_text = "An action or stream; how an object's or actor's name begins; an address or request id"
    ordering = ("-id",)

    @admin.display(description="log")
    def log(self, event: AuditEvent) -> str:
        return getattr(event, "log_name", "") or event.stream.partition(":")[0]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list, whose rows name the environment of their log stream; one statement for all."""
        changes = super().get_changelist_instance(request)
        names = audit_log_policy().named_streams(viewer_of(request))
        by_stream = {stream: name for name, stream in names.items()}
        for event in changes.result_list:
            event.log_name = by_stream.get(event.stream, "")
        return changes

    def page_of(self, obj: Any) -> str | None:
        return reverse("activity-event", args=[obj.pk])

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,  # noqa: FBT001, FBT002 - Django's signature
        change: bool = False,  # noqa: FBT001, FBT002 - Django's signature
        form_url: str = "",
        obj: Any = None,
    ) -> Any:
        """Show an event with its neighbours in the chain, and whether each verifies."""
        if obj is not None:
            about = f": {obj.object_name}" if obj.object_name else ""
            context |= {
                "chain": neighbourhood(obj),
                "chain_about": obj,
                "title": "Audit event",
                "subtitle": f"{action_name(obj.action)}{about}",
            }
        return super().render_change_form(request, context, add, change, form_url, obj)

    def get_queryset(self, request: HttpRequest) -> "models.QuerySet[AuditEvent]":
        """Record that the audit log is read, and return it."""
        record_view(viewer=viewer_of(request), face="admin", filters=dict(request.GET.items()))
        return super().get_queryset(request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Show the list, with a warning if a search for them lacks events."""
        search_parameters = {"q", OutcomeFilter.parameter_name}
        if search_parameters & request.GET.keys() and (behind := search_index.catch_up()):
            messages.warning(request, search_index.lag_text(behind))
        return super().changelist_view(request, extra_context)

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> "tuple[models.QuerySet[Any], bool]":
        """Return the events that a text finds, by the search table unless it is an action or stream."""
        rows, doubled = super().get_search_results(request, queryset, search_term)
        if not search_term or search_term in set(Action) or StreamHead.objects.filter(pk=search_term):
            return rows, doubled
        order = queryset.query.order_by
        return matching(queryset, by_index=True, text=search_term).order_by(*order), False


admin.site.unregister(LogEntry)


@admin.register(LogEntry)
class HistoryAdmin(OperatorAdmin, LogEntryAdmin):  # type: ignore[misc]  # without stubs
    """The history of configuration as django-auditlog shows it, whose search asks for names users lack."""

    absent = frozenset({"add", "delete"})
    list_display = ("created", "resource_url", "action", "msg_short", "user_url")
    list_filter = (period_of("timestamp"), "action")
    # A hierarchy of dates goes through the whole table.
    date_hierarchy = None
    sortable_by = ()
    ordering = ("-pk",)
    search_fields = ("=object_repr", "=actor__username")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return list(LogEntryAdmin.fieldsets)


read_only(Installation, "uuid since epoch restored_at")
read_only(StreamHead, "stream sequence")
read_only(ReadManifest, "digest size")
read_only(ReadManifestItem, "name number secret_uuid manifest", joined="manifest", search="=secret_uuid")
read_only(SearchEntry, "event outcome address actor_name object_name request_id", ordering="-event")
read_only(SearchPosition, "head sequence")
read_only(UsageEntry, "object_uuid number actor_name means count last_at", ordering="-id")
read_only(ManifestUse, "manifest_id actor_name means count last_at", ordering="-id")
read_only(SecretUse, "secret_uuid last_at", ordering="-id")
read_only(UsagePosition, "head sequence")
read_only(
    Checkpoint, "number at key_id", ordering="-number", period="at", page=lambda _row: reverse("admin-audit")
)
read_only(
    SinkState,
    "name position succeeded_at failures due_at error refused_stream refused_sequence",
    attention=(
        Attention(
            key="failing", label="sinks failing", tone="bad", rows=lambda rows: rows.filter(failures__gt=0)
        ),
    ),
)
read_only(StreamCursor, "sink stream sequence", joined="sink")
read_only(SavedView, "name owner_name shared environment query created_at", search="=owner_name name")
read_only(RefusalCount, "minute address kind count", search="=address", period="minute")
read_only(Deployment, "uuid created_at")
