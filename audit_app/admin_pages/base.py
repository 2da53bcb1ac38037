"""The base of every page of the Django admin, and pages that only show rows."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import Fieldset
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.text import capfirst

from audit_app.admin_pages.attention import Attention, AttentionFilter
from audit_app.admin_pages.columns import EMPTY, shown
from audit_app.admin_pages.export import export_csv
from audit_app.admin_pages.filters import names_hidden, period_of
from audit_app.admin_pages.history import has_history, history_of, history_url
from audit_app.admin_pages.paginator import BoundedPaginator
from audit_app.admin_pages.related import related_lists
from audit_app.admin_pages.search_words import search_words
from audit_app.admin_pages.sections import sections_of_columns, sections_of_form

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:  # generic to the type checker only
    ModelAdmin = admin.ModelAdmin


class OperatorAdmin(ModelAdmin):
    """A page for operators; `attention` names the rows that they have to look at.

    Binary and `hidden` columns (MACs, hashes, sealed data) are never shown, nor filtered by.
    """

    actions = None
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    empty_value_display = EMPTY
    hidden: ClassVar[frozenset[str]] = frozenset()
    attention: ClassVar[tuple[Attention, ...]] = ()
    # Headings of an editable form, each with the names of its fields; others come first.
    sections: ClassVar[tuple[tuple[str, str], ...]] = ()

    def page_of(self, obj: Any) -> str | None:
        """Return the address of Keeper's own page of an object; None if there is none."""
        return None

    def formfield_for_dbfield(self, db_field: Any, request: Any, **options: Any) -> Any:
        """Name the two parts of a time, which have no label of their own."""
        field = super().formfield_for_dbfield(db_field, request, **options)
        if isinstance(field, forms.SplitDateTimeField):
            for part, name in zip(field.widget.widgets, ("date", "time"), strict=True):
                part.attrs["aria-label"] = f"{capfirst(str(db_field.verbose_name))}: {name} in UTC"
        return field

    def view_on_site(self, obj: Any) -> str | None:
        return self.page_of(obj)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Return the fields of a form under its sections, and columns that are shown by what they are."""
        fields = self.get_fields(request, obj)
        if not self._is_form(request, obj):
            return sections_of_columns(self.model, fields)
        return sections_of_form(fields, self.sections)

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,  # noqa: FBT001, FBT002 - Django's signature
        change: bool = False,  # noqa: FBT001, FBT002 - Django's signature
        form_url: str = "",
        obj: Any = None,
    ) -> Any:
        """Show an object with its other columns, what refers to it, and its history."""
        if obj is not None and not context.get("is_popup"):
            context |= {
                "details": self._details(request, context["adminform"].form, obj),
                "related": related_lists(self.admin_site, request, obj),
                "history": history_of(request, obj),
                "history_url": history_url(obj) if has_history(obj) else "",
            }
        return super().render_change_form(request, context, add, change, form_url, obj)

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: Any = None,
    ) -> HttpResponse:
        """Lead to the events of the audit log about an object."""
        obj = self.get_object(request, unquote(object_id))
        if obj is None or not self.has_view_permission(request, obj) or not has_history(obj):
            raise Http404
        return redirect(history_url(obj))

    def _is_form(self, request: HttpRequest, obj: Any) -> bool:
        allowed = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        return bool(allowed)

    def _details(self, request: HttpRequest, form: Any, obj: Any) -> list[Fieldset]:
        """Return the columns that the form does not show, to look at."""
        if not self._is_form(request, obj):
            return []
        shown = {name for name in self.get_fields(request, obj) if isinstance(name, str)}
        rest = [name for name in self.shown_columns() if name not in shown and name != "id"]
        return [
            Fieldset(form, name or "Details", readonly_fields=options["fields"], model_admin=self, **options)
            for name, options in sections_of_columns(self.model, rest)
        ]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse to filter by columns that are never shown."""
        return not names_hidden(self, lookup) and super().lookup_allowed(lookup, value, request)

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Return the filters of the list, first the one of rows that need attention."""
        filters = [*super().get_list_filter(request)]
        return [AttentionFilter, *filters] if self.attention else filters

    @property
    def search_help_text(self) -> str:  # type: ignore[override]  # computed, where Django's is written by hand
        """What the search box finds, from the fields that it searches."""
        return search_words(self.model, self.search_fields)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Return the columns, each shown for its kind: states as icon and word, times in ISO 8601."""
        return [shown(self.model, name) for name in super().get_list_display(request)]

    def get_urls(self) -> list[Any]:
        """Add the address of the list as a file."""
        meta = self.model._meta
        address = path(
            "export.csv",
            self.admin_site.admin_view(self.export_view),
            name=f"{meta.app_label}_{meta.model_name}_export",
        )
        return [address, *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponse:
        """Return what is listed as a CSV file; the export is recorded first."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            changes = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            return redirect(f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_changelist")
        return export_csv(request, changes)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Show the list, with the address of the same rows as a file."""
        meta = self.model._meta
        address = reverse(f"{self.admin_site.name}:{meta.app_label}_{meta.model_name}_export")
        query = request.GET.urlencode()
        added = {
            "export_url": f"{address}?{query}" if query else address,
            "title": capfirst(str(meta.verbose_name_plural)),
        }
        return super().changelist_view(request, {**added, **(extra_context or {})})

    def shown_columns(self) -> list[str]:
        return [
            field.name
            for field in self.model._meta.concrete_fields
            if not isinstance(field, models.BinaryField) and field.name not in self.hidden
        ]


class ReadOnlyAdmin(OperatorAdmin):
    """Shows rows without any way to add, change or delete them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return list(self.shown_columns())


def read_only(
    model: type[models.Model],
    columns: str | Sequence[Any],
    *,
    filters: str = "",
    joined: str = "",
    search: str = "",
    ordering: str = "-pk",
    sortable: str = "",
    period: str = "",
    hidden: str = "",
    attention: tuple[Attention, ...] = (),
    page: Callable[[Any], str | None] | None = None,
) -> None:
    """Register a model's list and pages, to look at; each text holds names of fields, separated by spaces.

    `page` returns the address of Keeper's own page of an object; `period` is the time that a filter goes by.
    """
    options = {
        "list_display": columns.split() if isinstance(columns, str) else list(columns),
        "list_filter": [*([period_of(period)] if period else []), *filters.split()],
        "list_select_related": joined.split() or False,
        "search_fields": search.split(),
        "ordering": ordering.split(),
        "sortable_by": sortable.split(),
        "hidden": frozenset(hidden.split()),
        "attention": attention,
    } | ({"page_of": staticmethod(page)} if page else {})
    admin.site.register(model, ReadOnlyAdmin, **options)
