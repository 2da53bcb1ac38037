"""Lists of the admin: how columns are shown, pages, the words of the search box, and the CSV file.

A state and a yes or no are shown as icon and word, a time in ISO 8601. A page takes constant time: it goes by
key, and rows are counted up to a limit. The CSV file is recorded before it is made.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from types import SimpleNamespace
from typing import Any, Final

from django.contrib.admin.utils import label_for_field, lookup_field
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import FieldDoesNotExist
from django.core.paginator import Paginator
from django.db import models
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html, strip_tags
from django.utils.safestring import SafeString
from django.utils.text import Truncator, capfirst

from audit_app.events import streams
from audit_app.events.action_labels import action_name
from audit_app.events.actions import Action
from audit_app.interfaces import viewer_of
from audit_app.models import deployment_uuid
from audit_app.queries.event_export import harmless
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from core.canonical_json import Json
from core.errors import BadQuery
from core.pagination import AskedPage, asked_page

EMPTY: Final = "-"
_STATES: Final = frozenset({"state", "outcome", "step"})
_LONGEST: Final = 60
_SHORT: Final = 16
# The kinds of columns whose values a cursor holds.
_HAVE_ORDER: Final = (models.DateTimeField, models.IntegerField, models.CharField, models.TextField)


class Column:
    """A column of a list, as Django takes callables in `list_display`.

    Two of the same field are equal: the list looks for its columns among those that sort.
    """

    def __init__(self, field: "models.Field[Any, Any]", show: Callable[[Any], Any]) -> None:
        self.__name__ = field.name
        self.short_description = field.verbose_name
        self.admin_order_field = field.name
        self.name, self._show, self._field = field.name, show, field

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Column) and self._field == other._field

    def __hash__(self) -> int:
        return hash(self._field)

    def __call__(self, row: Any) -> Any:
        return self._show(self.value(row))

    def value(self, row: Any) -> Any:
        return getattr(row, self.name)


def shown(model: type[models.Model], name: Any) -> Any:
    """Return an entry of `list_display` in the form for its kind of column; others stay as they are."""
    if not isinstance(name, str):
        return name
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return name
    if not isinstance(field, models.Field):
        return name
    show = _how(field)
    return Column(field, show) if show else name


def plain(value: Any) -> str:
    """Return a value of a column as text, for a file."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return str(value)


def state(name: str, word: str = "") -> SafeString:
    """Return a state as icon, word and color, as Keeper's pages show it."""
    return SafeString(_state_template().render({"name": name, "word": word}))


def yes_no(value: object) -> SafeString:
    """Return yes or no; NULL is a no of columns that are unique while they are true."""
    return state("reads" if value else "reads_not", "yes" if value else "no")


def time(moment: datetime | None) -> SafeString | str:
    """Return a time to the minute, with the exact one on hover."""
    if moment is None:
        return EMPTY
    utc = moment.astimezone(UTC)
    exact, short = f"{utc:%Y-%m-%d %H:%M:%S} UTC", f"{utc:%Y-%m-%d %H:%M}Z"
    return format_html('<time datetime="{}" title="{}">{}</time>', plain(moment), exact, short)


def _how(field: "models.Field[Any, Any]") -> Callable[[Any], Any] | None:
    if isinstance(field, models.DateTimeField):
        return time
    if isinstance(field, models.BooleanField):
        return yes_no
    if field.name == "action" and isinstance(field, models.CharField):
        return action_name
    if field.name in _STATES:
        return lambda value: state(value) if value else EMPTY
    if isinstance(field, models.CharField | models.TextField) and not field.choices:
        return _kind if field.name == "kind" else lambda value: _short(value) if value else EMPTY
    return None


def _kind(code: str) -> str:
    """Return what a code names, in words: "sync.failed" is "Sync failed"."""
    return re.sub(r"[._-]+", " ", code).strip().capitalize() or EMPTY


def _short(text: str) -> SafeString | str:
    """Return a text that is cut at _LONGEST, and that the list may break anywhere unless it is short."""
    if len(text) <= _SHORT:
        return text
    whole = text if len(text) > _LONGEST else ""
    return format_html('<span class="text" title="{}">{}</span>', whole, Truncator(text).chars(_LONGEST))


@cache
def _state_template() -> Any:
    django: Any = engines["django"]
    return django.from_string("{% load keeper_ui %}{% state name word %}")


# A file is written in memory.
LIMIT: Final = 10_000


def export_csv(request: HttpRequest, changes: ChangeList) -> HttpResponse:
    """Return the first LIMIT rows of a list as CSV, after recording who took which list by which filters."""
    model = changes.model._meta
    # Only the names of the filters: what was typed may be anything.
    filters: list[Json] = [*sorted(name for name, value in request.GET.items() if value)]
    commit_record(
        actor=viewer_of(request),
        action=Action.LIST_EXPORT,
        stream=streams.SYSTEM,
        object=AuditObject("list", deployment_uuid(), model.label),
        details={"format": "csv", "filters": filters},
    )
    name = f"{model.model_name}-{timezone.now():%Y%m%dT%H%M%SZ}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(_as_csv(changes), content_type="text/csv; charset=utf-8", headers=headers)


def _as_csv(changes: ChangeList) -> str:
    columns = [column for column in changes.list_display if column != "action_checkbox"]
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow([label_for_field(_name(each), changes.model, changes.model_admin) for each in columns])
    for row in changes.queryset[:LIMIT].iterator(chunk_size=1_000):
        writer.writerow([harmless(text) for text in _texts(changes, columns, row)])
    return out.getvalue()


def _texts(changes: ChangeList, columns: Sequence[Any], row: Any) -> Iterator[str]:
    for column in columns:
        if isinstance(column, Column):
            yield plain(column.value(row))
        else:
            _, _, value = lookup_field(column, row, changes.model_admin)
            yield strip_tags(plain(value)).strip()


def _name(column: Any) -> Any:
    return column.name if isinstance(column, Column) else column


# So many rows are counted, and reached by pages that have numbers.
MOST: Final = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not subscriptable at run time
    """Counts at most MOST rows: a full count, or an offset of a million rows, takes seconds."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows, at most MOST."""
        return min(self._counted, MOST)

    @property
    def is_capped(self) -> bool:
        return self._counted > MOST

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[: MOST + 1].count())


class KeysetList(ChangeList):
    """A list whose pages go by key: a deep page costs what the first one does.

    A list in the order of several columns, or of a column of another model, has pages by number instead, and
    no more than MOST rows.
    """

    links: Mapping[str, str]

    def get_results(self, request: HttpRequest) -> None:
        """Read one page."""
        self.links = {}
        if (page := self._page(request)) is None:
            return super().get_results(request)
        rows, after, before = page.cut(list(page.narrowed(self.queryset)[: page.limit + 1]))
        self.paginator = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
        self.result_count, self.result_list = self.paginator.count, rows
        self.full_result_count, self.show_full_result_count, self.show_admin_actions = 0, False, True
        self.can_show_all = self.multi_page = False
        cursors = {"previous": before, "next": after}
        self.links = {
            name: self.get_query_string({PAGE_VAR: cursor}) for name, cursor in cursors.items() if cursor
        }
        return None

    def _page(self, request: HttpRequest) -> AskedPage | None:
        """Return which page is asked for; the first one for a cursor of another order, or a number."""
        asked = self.get_ordering(request, models.QuerySet(self.model))
        key = self.model._meta.pk
        orders = [each for each in asked if str(each).lstrip("-") not in {"pk", key.name}] or asked[:1]
        name = str(orders[0]).lstrip("-")
        column = (
            key
            if name == "pk"
            else next((each for each in self.model._meta.fields if each.name == name), None)
        )
        if len(orders) > 1 or not isinstance(key, models.IntegerField) or not isinstance(column, _HAVE_ORDER):
            return None
        order = SimpleNamespace(
            ordering_fields={column.name: column.name},
            default_ordering=f"-{column.name}" if str(orders[0]).startswith("-") else column.name,
        )
        limit = {"limit": str(self.list_per_page)}
        try:
            return asked_page({**limit, "cursor": request.GET.get(PAGE_VAR, "")}, self.model, order)
        except BadQuery:
            return asked_page(limit, self.model, order)


_HOW: Final = {"=": "{} (exact)", "^": "how {} begins"}


def search_words(model: type[models.Model], names: Sequence[str]) -> str:
    """Return the help text of a search box; empty where there is none."""
    words = [_HOW.get(name[0], "{}").format(_field_words(model, name.lstrip("=^@"))) for name in names]
    return capfirst(", ".join(words))


def _field_words(model: type[models.Model], path: str) -> str:
    """Return a field by its name for people; of another model with the name of the relation."""
    words: list[str] = []
    current: Any = model
    for part in path.split(LOOKUP_SEP):
        field = current._meta.get_field("id" if part == "pk" else part)
        words.append(str(field.verbose_name))
        current = field.related_model or current
    last = words.pop()
    return f"{last} of the {words[-1]}" if words else last
