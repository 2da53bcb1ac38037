"""Inserts many new rows, a hundred in a statement: `bulk_create` makes several calls for each value.

Each value is stored as its field stores it; a test compares the rows with those of the ORM.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection, models

from environments_app.fields import ExactCharField

# A hundred of the largest envelopes stay below the 16 MiB that MariaDB takes in a statement.
_ROWS_PER_INSERT: Final = 100
# What the drivers take as the instance has it; a field of any other class says itself what it stores.
_AS_THEY_ARE: Final = frozenset(
    {
        models.BooleanField,
        models.CharField,
        models.PositiveIntegerField,
        models.TextField,
        ExactCharField,
    }
)

Read = Callable[[Any], Any]


class _Statement(NamedTuple):
    head: str
    row: str
    reads: Sequence[Read]


def insert_rows(rows: Sequence[models.Model]) -> None:
    """Insert new instances of one model, which do not get to know their ids."""
    if not rows:
        return
    head, row, reads = _statement(type(rows[0]), connection.vendor)
    with connection.cursor() as cursor:
        for start in range(0, len(rows), _ROWS_PER_INSERT):
            batch = rows[start : start + _ROWS_PER_INSERT]
            values = [read(instance) for instance in batch for read in reads]
            cursor.execute(head + ", ".join([row] * len(batch)), values)


@cache
def _statement(model: type[models.Model], vendor: str) -> _Statement:  # noqa: ARG001 - a key of the cache
    quote = connection.ops.quote_name
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    binary = connection.ops.binary_placeholder_sql(b"")  # type: ignore[arg-type]  # the stub knows only Case
    marks = [binary if isinstance(field, models.BinaryField) else "%s" for field in fields]
    names = ", ".join(quote(str(field.column)) for field in fields)
    return _Statement(
        head=f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ",  # noqa: S608 - our own names
        row=f"({', '.join(marks)})",
        reads=[_read(field) for field in fields],
    )


def _read(field: "models.Field[Any, Any]") -> Read:
    """Return what takes a field's value from an instance as the driver stores it."""
    value = attrgetter(field.attname)
    if type(field) in _AS_THEY_ARE:
        return value
    if type(field) is models.UUIDField:
        return lambda row: _hexadecimal(value(row))
    if type(field) is models.DateTimeField and not (field.auto_now or field.auto_now_add):
        return lambda row: _moment(value(row))
    if type(field) is models.ForeignKey:
        return lambda row: _hexadecimal(value(row))
    return lambda row: field.get_db_prep_save(field.pre_save(row, add=True), connection)


def _hexadecimal(key: UUID | int | None) -> str | int | None:
    return key.hex if isinstance(key, UUID) else key


def _moment(at: datetime | None) -> Any:
    return None if at is None else connection.ops.adapt_datetimefield_value(at)
