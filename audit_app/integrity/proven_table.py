"""Reads authenticated rows by plain SQL, and proves them as their instances do, in a tenth of the time.

A table is compiled once for a model and the columns that its reader wants. What the MAC covers is read along,
so that no reader can leave a column out. A row that does not prove itself here is judged by its model.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType, NoneType
from typing import Any, Final, NamedTuple

from django.db import connection, models

from audit_app.errors import UnauthenticatableValue
from audit_app.integrity.row_authentication import AuthenticatedRow, row_message
from audit_app.interfaces import Purpose, keyring
from core.db.identity import uuid_text


class PlainTable:
    """Some columns of a model, by the names of their attributes or `pk`, as plain SQL gives them."""

    def __init__(self, model: type[models.Model], columns: Sequence[str]) -> None:
        self.model = model
        self.columns = tuple(dict.fromkeys(columns))
        meta = model._meta
        self._fields: list[Any] = [meta.pk if name == "pk" else meta.get_field(name) for name in self.columns]
        self._stored = [_STORED[_column_of(field).get_internal_type()] for field in self._fields]
        self._conversions = [
            (name, stored.convert)
            for name, stored in zip(self.columns, self._stored, strict=True)
            if stored.convert
        ]
        self._fits = lru_cache(maxsize=128)(self._has_types)

    @property
    def table(self) -> str:
        return connection.ops.quote_name(self.model._meta.db_table)

    def select(self, alias: str) -> str:
        return ", ".join(f"{alias}.{connection.ops.quote_name(str(field.column))}" for field in self._fields)

    def read(self, stored: Sequence[Any]) -> dict[str, Any] | None:
        """Return the columns by name: UUIDs as text, times in UTC, JSON parsed.

        Returns None if a column holds what its field never stores: SQLite stores what it is given.
        """
        if not self._fits(tuple(map(type, stored))):
            return None
        row = dict(zip(self.columns, stored, strict=True))
        try:
            for name, convert in self._conversions:
                if row[name] is not None:
                    row[name] = convert(row[name])
        except (ValueError, KeyError):
            return None
        return row

    def _has_types(self, types: tuple[type, ...]) -> bool:
        return len(types) == len(self._fields) and all(
            kind in stored.types or (kind is NoneType and field.null)
            for kind, stored, field in zip(types, self._stored, self._fields, strict=True)
        )


class ProvenTable(PlainTable):
    """Columns of rows that carry a MAC; `uuid`, `row_mac` and what it covers are always among them."""

    def __init__(self, model: type[AuthenticatedRow], columns: Sequence[str] = ()) -> None:
        own = [path for path in (*model.MAC_COVERS, *model.MAC_COVERS_IF_SET) if "." not in path]
        super().__init__(model, (*columns, "uuid", "row_mac", *own))
        self._row = model

    def prove(
        self, stored: Sequence[Any], beyond: Mapping[str, str | None] = MappingProxyType({})
    ) -> dict[str, Any] | None:
        """Return the columns of a row that Keeper wrote, by name, with `beyond`; None for any other.

        `beyond` holds the covered paths through foreign keys, such as `environment.uuid`. It opens no key and
        asks no database: the model judges a row under a key that this process does not hold yet.
        """
        row = self.read(stored)
        if row is None:
            return None
        row.update(beyond)
        try:
            message = row_message(self._row, row["uuid"], row)
        except UnauthenticatableValue:
            return None
        return row if keyring().verify_held(Purpose.ROW_MAC, message, row["row_mac"]) else None


class _Stored(NamedTuple):
    """How drivers give a column: the types of its values, and what makes of them what Python has."""

    types: frozenset[type]
    convert: Callable[[Any], Any] | None = None


def _column_of(field: Any) -> Any:
    return field.target_field if isinstance(field, models.ForeignKey) else field


def _uuid(stored: str) -> str:
    if not _UUID.fullmatch(stored):
        raise ValueError("no UUID as Keeper stores it")
    return uuid_text(stored)


def _time(stored: datetime) -> datetime:
    return stored.replace(tzinfo=UTC)


_UUID: Final = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NUMBER: Final = _Stored(frozenset({int}))
_TEXT: Final = _Stored(frozenset({str}))
_STORED: Final[Mapping[str, _Stored]] = {
    "AutoField": _NUMBER,
    "BigAutoField": _NUMBER,
    "BigIntegerField": _NUMBER,
    "PositiveIntegerField": _NUMBER,
    "PositiveSmallIntegerField": _NUMBER,
    "IntegerField": _NUMBER,
    "CharField": _TEXT,
    "EmailField": _TEXT,
    "TextField": _TEXT,
    "URLField": _TEXT,
    "UUIDField": _Stored(frozenset({str}), _uuid),
    "DateTimeField": _Stored(frozenset({datetime}), _time),
    "JSONField": _Stored(frozenset({str}), json.loads),
    # MariaDB stores a number.
    "BooleanField": _Stored(frozenset({bool, int}), {0: False, 1: True}.__getitem__),
    "BinaryField": _Stored(frozenset({bytes})),
}
