"""The audit log in the admin: to look at, never to change."""

from typing import TYPE_CHECKING, Any, ClassVar

from auditlog.admin import LogEntryAdmin
from auditlog.models import LogEntry
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest

from audit_app.admin_filters import ActorKindFilter, OutcomeFilter, names_hidden
from audit_app.events.actions import Action
from audit_app.interfaces.access_policy import viewer_of
from audit_app.models import (
    AuditEvent,
    Checkpoint,
    Deployment,
    Installation,
    ReadManifest,
    ReadManifestItem,
    RefusalCount,
    SearchEntry,
    SearchPosition,
    SinkState,
    StreamCursor,
    StreamHead,
)
from audit_app.queries import search_index
from audit_app.queries.access_log import record_view
from audit_app.queries.search import matching

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:  # generic to the type checker only
    ModelAdmin = admin.ModelAdmin


class ReadOnlyAdmin(ModelAdmin):
    """Shows rows without any way to add, change or delete them; binary and `hidden` columns are left out."""

    actions = None
    list_per_page = 50
    show_full_result_count = False
    hidden: ClassVar[frozenset[str]] = frozenset()

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
        return [
            field.name
            for field in fields
            if not isinstance(field, models.BinaryField) and field.name not in self.hidden
        ]


def read_only(
    model: type[models.Model],
    columns: str,
    *,
    filters: str = "",
    joined: str = "",
    search: str = "",
    ordering: str = "",
    hidden: str = "",
) -> None:
    """Register a model's list and pages, to look at; each text holds names of fields, separated by spaces."""
    options = {
        "list_display": columns.split(),
        "list_filter": filters.split(),
        "list_select_related": joined.split() or False,
        "search_fields": search.split(),
        "ordering": ordering.split() or None,
        "hidden": frozenset(hidden.split()),
    }
    admin.site.register(model, ReadOnlyAdmin, **options)


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Events, newest first."""

    list_display = ("at", "stream", "sequence", "actor_name", "action", "object_name", "outcome", "address")
    list_filter = (OutcomeFilter, ActorKindFilter)
    # `get_search_results` takes their place.
    search_fields = ("=action", "=stream")
    search_help_text = "An action or stream; how an object's or actor's name begins; an address or request id"
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> "models.QuerySet[AuditEvent]":
        """Record that the audit log is read, and return it."""
        record_view(viewer=viewer_of(request), face="admin", wanted=dict(request.GET.items()))
        return super().get_queryset(request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Show the list, with a warning if a search for them lacks events."""
        asked = {"q", OutcomeFilter.parameter_name}
        if asked & request.GET.keys() and (behind := search_index.catch_up()):
            messages.warning(request, search_index.lag_text(behind))
        return super().changelist_view(request, extra_context)

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> "tuple[models.QuerySet[Any], bool]":
        """Return the events that a text finds, by the search table unless it is an action or stream."""
        found, doubled = super().get_search_results(request, queryset, search_term)
        if not search_term or search_term in set(Action) or StreamHead.objects.filter(pk=search_term):
            return found, doubled
        order = queryset.query.order_by
        return matching(queryset, by_index=True, text=search_term).order_by(*order), False


admin.site.unregister(LogEntry)


@admin.register(LogEntry)
class HistoryAdmin(LogEntryAdmin):  # type: ignore[misc]  # without stubs
    """The history of configuration as django-auditlog shows it, whose search asks for names users lack."""

    search_fields = ("=object_repr", "=actor__username")
    search_help_text = "An exact object or username"


read_only(Installation, "uuid epoch since backup restored_at")
read_only(StreamHead, "stream sequence")
read_only(ReadManifest, "digest size", ordering="-id")
read_only(
    ReadManifestItem,
    "name number secret_uuid manifest",
    joined="manifest",
    search="=name =secret_uuid",
    ordering="-id",
)
read_only(SearchEntry, "event outcome address actor_name object_name", ordering="-event")
read_only(SearchPosition, "head sequence")
read_only(Checkpoint, "number at key_id", ordering="-number")
read_only(SinkState, "name position succeeded_at failures error")
read_only(StreamCursor, "sink stream sequence", joined="sink")
read_only(RefusalCount, "minute address kind count", ordering="-minute")
read_only(Deployment, "uuid created_at")
