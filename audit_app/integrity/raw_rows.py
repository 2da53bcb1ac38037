"""Rows as plain columns that prove themselves as the instances of their model do, in a tenth of the time.

What a row's MAC covers is taken from its model, so that there is one rule; the bytes are written by
`row_authentication.mac_message`. A test holds both readings together.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import orjson
from django.db import connection, models

from audit_app.errors import UnauthenticatableValue
from audit_app.integrity.row_authentication import AuthenticatedRow, mac_message
from audit_app.interfaces import Purpose, keyring
from core.canonical_json import utc_text
from core.db.identity import uuid_text


class UnreadableColumn(Exception):
    """A column holds what its field never stores."""


class RawRows:
    """Some columns of a model, by the names of their attributes, as a query with plain SQL gives them."""

    def __init__(self, model: type[models.Model], columns: Sequence[str]) -> None:
        self.model = model
        self.columns = tuple(columns)
        self._fields: list[Any] = [model._meta.get_field(name) for name in columns]
        self._converters = [
            (place, convert)
            for place, field in enumerate(self._fields)
            if (convert := _CONVERTERS.get(field.get_internal_type()))
        ]

    @property
    def table(self) -> str:
        return connection.ops.quote_name(self.model._meta.db_table)

    def select(self, alias: str) -> str:
        return ", ".join(f"{alias}.{connection.ops.quote_name(str(field.column))}" for field in self._fields)

    def values(self, stored: Sequence[Any]) -> list[Any]:
        """Return the columns as Python has them: uuids as text, times in UTC, JSON parsed.

        Raises UnreadableColumn.
        """
        found = list(stored)
        try:
            for place, convert in self._converters:
                if found[place] is not None:
                    found[place] = convert(found[place])
        except (ValueError, TypeError, AttributeError) as error:
            raise UnreadableColumn(f"a column of {self.model.__name__} cannot be read") from error
        return found


class ProvenRows(RawRows):
    """Columns of rows that carry a MAC; `uuid`, `row_mac` and what it covers are among them."""

    def __init__(self, model: type[AuthenticatedRow], columns: Sequence[str]) -> None:
        super().__init__(model, columns)
        self._row = model

    @cached_property
    def _covered(self) -> tuple[list[tuple[str, int]], list[tuple[str, int]], list[str]]:
        """Return the paths that lie in the row with their places, those covered if set, and the others."""
        places = {name: place for place, name in enumerate(self.columns)}
        own = [(path, places[path]) for path in self._row.MAC_COVERS if "." not in path]
        if_set = [(path, places[path]) for path in self._row.MAC_COVERS_IF_SET]
        return own, if_set, [path for path in self._row.MAC_COVERS if "." in path]

    @cached_property
    def _identity(self) -> tuple[int, int]:
        return self.columns.index("uuid"), self.columns.index("row_mac")

    def message(self, values: Sequence[Any], **others: str | None) -> bytes:
        """Return what the row's MAC is over; `others` are the covered paths through foreign keys.

        A path is spelt `environment__uuid`. Raises UnauthenticatableValue.
        """
        own, if_set, paths = self._covered
        covered: dict[str, object] = {path: _covering(values[place]) for path, place in own}
        for path, place in if_set:
            if values[place] not in _NOTHING:
                covered[path] = _covering(values[place])
        for path in paths:
            covered[path] = others[path.replace(".", "__")]
        return mac_message(self._row.MAC_LABEL, values[self._identity[0]], covered)

    def is_authentic(self, values: Sequence[Any], **others: str | None) -> bool:
        """Return whether Keeper wrote the row, under a key that this process has open.

        Raises KeyringUnavailable if the keys are not open.
        """
        try:
            message = self.message(values, **others)
        except UnauthenticatableValue:
            return False
        return keyring().verify_held(Purpose.ROW_MAC, message, bytes(values[self._identity[1]]))


_NOTHING: Final = (None, "")


def _covering(value: Any) -> Any:
    if type(value) is datetime:
        return utc_text(value)
    return value.hex() if type(value) is bytes else value


def _time(stored: datetime) -> datetime:
    return stored.replace(tzinfo=UTC)


def _bytes(stored: Any) -> bytes:
    # SQLite holds a number as well, and `bytes` of that are so many zeros.
    return memoryview(stored).tobytes()


def _json(stored: str) -> Any:
    try:
        return orjson.loads(stored)
    except orjson.JSONDecodeError:
        # Python's own takes what the field may have stored: NaN, lone surrogates.
        return json.loads(stored)


_CONVERTERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "UUIDField": uuid_text,
    "DateTimeField": _time,
    "JSONField": _json,
    "BooleanField": bool,
    "BinaryField": _bytes,
}
