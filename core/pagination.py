"""Pages through long lists by key, not by number: a deep page costs what the first one does.

A cursor names the last row that was shown by (is-null, field, id). Ties and NULLs are in order
by that triple (NULLs last), so that no row is shown twice and none is skipped; a row that is
added or deleted in the meantime moves nothing. There is no COUNT.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import orjson
from django.db.models import DateTimeField, F, IntegerField, Model, OrderBy, Q, QuerySet
from django.http import HttpRequest
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import BadQuery
from core.parsing import whole_number

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
OWN_PARAMETERS: Final = ("cursor", "limit", "ordering", "format")


class ListView(Protocol):
    """The orders that a list view declares."""

    # Public name of an order → the field of the model.
    ordering_fields: Mapping[str, str]
    # A public name, with `-` in front for descending.
    default_ordering: str
    # The other parameters that the list understands.
    filter_names: Sequence[str]


@dataclass(frozen=True)
class Ordering:
    """An order of a list: a field of the model, and which way."""

    name: str
    field: str
    descending: bool
    nullable: bool
    # What the field holds: a time, a whole number or a text.
    holds: type[datetime] | type[int] | type[str]


@dataclass(frozen=True)
class Cursor:
    """The row next to the page: its place in the order, and on which side the page lies."""

    value: Any
    id: int
    backwards: bool


@dataclass(frozen=True)
class AskedPage:
    """Which page of a list is asked for."""

    limit: int
    ordering: Ordering
    cursor: Cursor | None

    @property
    def is_backwards(self) -> bool:
        """Whether the page lies before its cursor, and is read from there."""
        return self.cursor is not None and self.cursor.backwards

    def narrowed(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows from the cursor on, in the order in which they are read."""
        return _ordered(_after(rows, self.ordering, self.cursor), self.ordering, reverse=self.is_backwards)

    def cut(self, rows: list[Any]) -> tuple[list[Any], str | None, str | None]:
        """Return the page, and the cursors of the next and the previous one.

        `rows` are those of the page in the order in which they were read, and one more if there are more.
        """
        more, rows = len(rows) > self.limit, rows[: self.limit]
        if self.is_backwards:
            rows.reverse()
        has_next = bool(rows) and (self.is_backwards or more)
        has_previous = bool(rows) and (more if self.is_backwards else self.cursor is not None)
        return (
            rows,
            _encoded(rows[-1], self.ordering, backwards=False) if has_next else None,
            _encoded(rows[0], self.ordering, backwards=True) if has_previous else None,
        )


def asked_page(parameters: Mapping[str, str], model: type[Model], view: Any) -> AskedPage:
    """Return which page of a ListView a query asks for: `limit` rows, 1 to 200, by default 50.

    Raises BadQuery.
    """
    limit = _limit(parameters.get("limit"))
    # A form without scripts sends what is not chosen as well, empty.
    text = parameters.get("ordering") or None
    ordering_text = view.default_ordering if text is None else text
    name = ordering_text.removeprefix("-")
    if name not in view.ordering_fields:
        raise BadQuery(
            "ordering", f"Choose one of {', '.join(view.ordering_fields)}, with - in front to descend."
        )
    column = model._meta.get_field(view.ordering_fields[name])
    nullable = bool(getattr(column, "null", False))
    ordering = Ordering(name, column.name, ordering_text.startswith("-"), nullable, _kind(column))
    return AskedPage(limit, ordering, _decoded(parameters.get("cursor"), ordering))


def link_to(url: str, cursor: str | None) -> str | None:
    """Return the address of another page of the list at `url`; None for none."""
    if cursor is None:
        return None
    parts = urlsplit(url)
    query = [
        (name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "cursor"
    ]
    return urlunsplit(parts._replace(query=urlencode([*query, ("cursor", cursor)])))


class KeysetPagination(BasePagination):
    """Django REST framework's face of the keyset; pages of HTML use it as well."""

    def paginate_queryset(self, queryset: Any, request: Request | HttpRequest, view: Any = None) -> list[Any]:
        """Return one page of a queryset for a ListView, by `asked_page`.

        Raises BadQuery if a parameter is not what it can be and, in the API, if one is unknown. A page
        ignores what it does not know: links from chats and e-mails carry parameters of other systems.
        """
        self._url = request.build_absolute_uri()
        parameters = request.GET
        if isinstance(request, Request):
            accepted = {*OWN_PARAMETERS, *getattr(view, "filter_names", ())}
            if any(name not in accepted for name in parameters):
                raise BadQuery("query", f"Unknown parameter. This list has: {', '.join(sorted(accepted))}.")
        page = self._page = asked_page(parameters, queryset.model, view)
        rows, self._next, self._previous = page.cut(list(page.narrowed(queryset)[: page.limit + 1]))
        return rows

    def end_at(self, row: Any, *, more: bool) -> None:
        """Let the page end at a later row than the one that it was read to."""
        self._next = _encoded(row, self._page.ordering, backwards=False) if more else None

    @property
    def goes_on(self) -> bool:
        """Whether the page is read forwards, and another follows."""
        return self._next is not None and not self._page.is_backwards

    def get_next_link(self) -> str | None:
        return link_to(self._url, self._next)

    def get_previous_link(self) -> str | None:
        return link_to(self._url, self._previous)

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link(), "previous": self.get_previous_link()})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["results", "next", "previous"],
            "properties": {"results": schema, "next": link, "previous": link},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        names = [prefix + name for name in view.ordering_fields for prefix in ("", "-")]
        return [
            _parameter(
                "cursor", {"type": "string"}, "Where the page begins, as a link of another page names it."
            ),
            _parameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
                "Rows of a page.",
            ),
            _parameter(
                "ordering", {"type": "string", "enum": names, "default": view.default_ordering}, "The order."
            ),
        ]


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    limit = whole_number(text, largest=MAX_LIMIT)
    if not limit:
        raise BadQuery("limit", f"Give a whole number from 1 to {MAX_LIMIT}.")
    return limit


def _kind(column: object) -> type[datetime] | type[int] | type[str]:
    if isinstance(column, DateTimeField):
        return datetime
    return int if isinstance(column, IntegerField) else str


def _ordered(rows: QuerySet[Any], ordering: Ordering, *, reverse: bool) -> QuerySet[Any]:
    descending = ordering.descending is not reverse
    id_order = f"-{_key(rows)}" if descending else _key(rows)
    if ordering.field in {"id", "pk"}:
        return rows.order_by(id_order)
    order: list[str | OrderBy] = []
    if ordering.nullable:
        # NULLs come last in either direction, so first when read backwards.
        nulls_last = not reverse
        order.append(
            OrderBy(
                F(ordering.field),
                descending=descending,
                nulls_last=nulls_last or None,
                nulls_first=not nulls_last or None,
            )
        )
    else:
        order.append(f"-{ordering.field}" if descending else ordering.field)
    return rows.order_by(*order, id_order)


def _key(rows: QuerySet[Any]) -> str:
    """Return the column that holds the rows' ids: a search may know them by another table's."""
    return getattr(rows, "key", "pk")


def _after(rows: QuerySet[Any], ordering: Ordering, cursor: Cursor | None) -> QuerySet[Any]:
    """Keep the rows behind the cursor, in the direction in which it is read."""
    if cursor is None:
        return rows
    side = "lt" if ordering.descending is not cursor.backwards else "gt"
    beyond_id = Q(**{f"{_key(rows)}__{side}": cursor.id})
    field = ordering.field
    if field in {"id", "pk"}:
        return rows.filter(beyond_id)
    if cursor.value is None:
        same = Q(**{f"{field}__isnull": True}) & beyond_id
        return rows.filter(same | Q(**{f"{field}__isnull": False}) if cursor.backwards else same)
    # `field >= value` alone can use the index; the rest only removes the ties already shown.
    bound = Q(**{f"{field}__{side}e": cursor.value})
    behind = bound & (Q(**{f"{field}__{side}": cursor.value}) | beyond_id)
    if ordering.nullable and not cursor.backwards:
        behind |= Q(**{f"{field}__isnull": True})
    return rows.filter(behind)


def _encoded(row: Any, ordering: Ordering, *, backwards: bool) -> str:
    value = getattr(row, ordering.field)
    if isinstance(value, datetime):
        value = value.isoformat()
    # An edited row may hold anything: it still has its place in the order.
    text = orjson.dumps([ordering.name, value, row.pk, backwards], default=str)
    return urlsafe_b64encode(text).decode().rstrip("=")


def _decoded(text: str | None, ordering: Ordering) -> Cursor | None:
    if not text:
        return None
    try:
        content = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        name, value, pk, backwards = content
    except (ValueError, TypeError, binascii.Error) as error:
        raise BadQuery("cursor", "Use a cursor as the links next and previous give it.") from error
    if name != ordering.name or not isinstance(backwards, bool) or not _is_id(pk):
        raise BadQuery("cursor", "The cursor belongs to another order. Begin again without it.")
    return Cursor(value=_decoded_value(value, ordering), id=pk, backwards=backwards)


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _decoded_value(value: object, ordering: Ordering) -> Any:
    """Return the value as its field knows it: a time, a text or a whole number."""
    if value is None and ordering.nullable:
        return None
    if ordering.holds is int and _is_id(value):
        return value
    if isinstance(value, str) and ordering.holds is str:
        return value
    if isinstance(value, str) and ordering.holds is datetime and (moment := _moment(value)):
        return moment
    raise BadQuery("cursor", "Use a cursor as the links next and previous give it.")


def _moment(text: str) -> datetime | None:
    """Return a time that a database can compare with, or None."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
