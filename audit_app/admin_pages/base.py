"""The base of every page of the Django admin: sections, related rows, history, and read-only pages.

The history shows the newest events of the audit log about the object. Related lists show the rows that
refer to it.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.helpers import Fieldset
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.text import capfirst

from audit_app.admin_pages.filters import Attention, AttentionFilter, names_hidden, period_of
from audit_app.admin_pages.lists import EMPTY, BoundedPaginator, KeysetList, export_csv, search_words, shown
from audit_app.interfaces import viewer_of
from audit_app.models import AuditEvent
from audit_app.queries import search

# Columns that only support and scripts need, beside those that are UUIDs.
_IDENTIFIERS: Final = frozenset(
    {"id", "digest", "epoch", "key_id", "lease_owner", "lease_until", "public_id", "revision", "scope"}
)


def sections_of_columns(
    model: type[models.Model], names: Sequence[Any]
) -> list[tuple[str | None, dict[str, Any]]]:
    """Return fieldsets of columns that are only shown: first what the object is, then times, identifiers."""
    groups: dict[str | None, list[Any]] = {None: [], "Times": [], "Identifiers": []}
    for name in names:
        groups[_section(model, name)].append(name)
    return [(heading, _options(heading, fields)) for heading, fields in groups.items() if fields]


def sections_of_form(
    names: Sequence[Any], sections: Sequence[tuple[str, str]]
) -> list[tuple[str | None, dict[str, Any]]]:
    """Return the fieldsets of a form: fields without a section first, then each section that has some."""
    placed = {name for _, fields in sections for name in fields.split()}
    groups: list[tuple[str | None, list[Any]]] = [(None, [name for name in names if name not in placed])]
    groups += [(heading, [name for name in fields.split() if name in names]) for heading, fields in sections]
    return [(heading or None, _options(heading, fields)) for heading, fields in groups if fields]


def _section(model: type[models.Model], name: Any) -> str | None:
    field = next((column for column in model._meta.concrete_fields if column.name == name), None)
    if name in _IDENTIFIERS or isinstance(field, models.UUIDField):
        return "Identifiers"
    return "Times" if isinstance(field, models.DateTimeField) else None


def _options(heading: str | None, fields: list[Any]) -> dict[str, Any]:
    return {"fields": fields, "classes": ["collapse"] if heading == "Identifiers" else []}


@dataclass(frozen=True, kw_only=True)
class RelatedList:
    label: str
    url: str


def related_lists(site: AdminSite, request: HttpRequest, obj: models.Model) -> list[RelatedList]:
    """Return the lists of rows that refer to an object, by name; no statement is needed."""
    # Hidden ones as well: most relations have no name of their own.
    relations = [
        field
        for field in obj._meta.get_fields(include_hidden=True)
        if isinstance(field, models.ManyToOneRel)
        and field.field.model._meta.auto_created is False
        and _may_view(site, request, field)
    ]
    times = Counter(relation.related_model for relation in relations)
    lists = [_list_of(site, obj, relation, times[relation.related_model]) for relation in relations]
    return sorted(lists, key=lambda each: each.label)


def _may_view(site: AdminSite, request: HttpRequest, relation: Any) -> bool:
    model = relation.related_model
    return site.is_registered(model) and site.get_model_admin(model).has_view_permission(request)


def _list_of(site: AdminSite, obj: models.Model, relation: Any, times: int) -> RelatedList:
    meta, field = relation.related_model._meta, relation.field
    url = reverse(f"{site.name}:{meta.app_label}_{meta.model_name}_changelist")
    name = capfirst(str(meta.verbose_name_plural))
    label = f"{name} ({field.verbose_name})" if times > 1 else name
    key = getattr(obj, field.target_field.attname)
    return RelatedList(label=label, url=f"{url}?{field.name}__{field.target_field.name}__exact={key}")


SHOWN: Final = 20


def has_history(obj: models.Model) -> bool:
    """Return whether events of the audit log can name an object: it has a UUID and is no event itself."""
    return isinstance(getattr(obj, "uuid", None), UUID) and not isinstance(obj, AuditEvent)


def history_of(request: HttpRequest, obj: models.Model) -> Sequence[AuditEvent]:
    """Return the newest events about an object that the operator may read; a bounded number of statements."""
    if not has_history(obj):
        return []
    return list(search.events(viewer=viewer_of(request), object_uuid=_named_by(obj))[:SHOWN])


def history_url(obj: models.Model) -> str:
    """Return the address of all events about an object in the admin."""
    return f"{reverse('admin:audit_app_auditevent_changelist')}?object_uuid={_named_by(obj)}"


def _named_by(obj: Any) -> UUID:
    """Return the UUID by which events name an object: an alert is named by what it is about."""
    named: UUID = getattr(obj, "about", obj.uuid)
    return named


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
    # Of "add" and "delete", what nobody may: it has no page.
    absent: ClassVar[frozenset[str]] = frozenset()
    # Headings of an editable form, each with the names of its fields; others come first.
    sections: ClassVar[tuple[tuple[str, str], ...]] = ()

    def page_of(self, obj: Any) -> str | None:
        """Return the address of Keeper's own page of an object; None if there is none."""
        return None

    def get_queryset(self, request: HttpRequest) -> "models.QuerySet[Any]":
        """Leave out what is of a deleted environment, as everywhere."""
        rows: models.QuerySet[Any] = super().get_queryset(request)
        of_environment = any(each.name == "environment" and each.is_relation for each in self.opts.fields)
        return rows.filter(environment__deleted_at__isnull=True) if of_environment else rows

    def formfield_for_dbfield(self, db_field: Any, request: Any, **options: Any) -> Any:
        """Name the two parts of a time, which have no label of their own."""
        field = super().formfield_for_dbfield(db_field, request, **options)
        if isinstance(field, forms.SplitDateTimeField):
            for part, name in zip(field.widget.widgets, ("date", "time"), strict=True):
                part.attrs["aria-label"] = f"{capfirst(str(db_field.verbose_name))}: {name} in UTC"
        return field

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> "type[ChangeList]":
        """Return the list whose pages go by key."""
        return KeysetList

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

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
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
        names = {name for name in self.get_fields(request, obj) if isinstance(name, str)}
        rest = [name for name in self.shown_columns() if name not in names and name != "id"]
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

    def get_sortable_by(self, request: HttpRequest) -> Any:
        """Return the columns that sort, as `get_list_display` has them."""
        return {shown(self.model, name) for name in super().get_sortable_by(request)}

    def get_urls(self) -> list[Any]:
        """Add the address of the list as a file; leave out what nobody may, and Django's old addresses."""
        meta = self.model._meta
        address = path(
            "export.csv",
            self.admin_site.admin_view(self.export_view),
            name=f"{meta.app_label}_{meta.model_name}_export",
        )
        acts = self.absent if any(each.name == "uuid" for each in meta.fields) else {*self.absent, "history"}
        absent = {None, *(f"{meta.app_label}_{meta.model_name}_{act}" for act in acts)}
        return [address, *(each for each in super().get_urls() if each.name not in absent)]

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
            # What an empty list has room for: the first sentence about the model.
            "belongs": " ".join((inspect.getdoc(self.model) or "").partition("\n\n")[0].split()),
        }
        return super().changelist_view(request, {**added, **(extra_context or {})})

    def shown_columns(self) -> list[str]:
        return [
            field.name
            for field in self.model._meta.concrete_fields
            if not isinstance(field, models.BinaryField) and field.name not in self.hidden
        ]


class ReadOnlyAdmin(OperatorAdmin):
    absent = frozenset({"add", "delete"})

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
