"""Inserts many rows of plain values at once.

SQLite prepares a statement once and runs it for each row; to the servers a hundred rows go in one.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, NamedTuple

from django.db import connection

# A hundred of the largest envelopes stay below the 16 MiB that MariaDB takes in a statement.
_ROWS_PER_INSERT: Final = 100


class Insert(NamedTuple):
    """An INSERT statement: all before the values, and the marks of one row."""

    head: str
    row: str


@cache
def insert_into(table: str, columns: Sequence[str], *, binary: Collection[str], vendor: str) -> Insert:  # noqa: ARG001 - a key of the cache
    """Return the statement that stores rows of these columns; `binary` names those that hold bytes."""
    quote = connection.ops.quote_name
    mark = connection.ops.binary_placeholder_sql(b"")  # type: ignore[arg-type]  # the stub knows only Case
    marks = ", ".join(mark if column in binary else "%s" for column in columns)
    names = ", ".join(map(quote, columns))
    return Insert(f"INSERT INTO {quote(table)} ({names}) VALUES ", f"({marks})")  # noqa: S608 - our own names


def insert(statement: Insert, rows: Sequence[Sequence[Any]]) -> None:
    """Store rows, their values as the driver takes them."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite" and len(rows) > 1:
            cursor.executemany(statement.head + statement.row, rows)
            return
        for batch in _batches(rows):
            marks = ", ".join([statement.row] * len(batch))
            cursor.execute(statement.head + marks, list(chain.from_iterable(batch)))


def _batches(rows: Sequence[Sequence[Any]]) -> Iterable[Sequence[Sequence[Any]]]:
    return (rows[start : start + _ROWS_PER_INSERT] for start in range(0, len(rows), _ROWS_PER_INSERT))
