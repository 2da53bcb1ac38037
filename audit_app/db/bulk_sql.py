"""Inserts and updates many rows of plain values at once.

SQLite prepares a statement once and runs it for each row; to the servers a hundred rows go in one.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, NamedTuple

from django.db import connection

# A hundred of the largest envelopes stay below the 16 MiB that MariaDB takes in a statement.
_ROWS_PER_STATEMENT: Final = 100


class Insert(NamedTuple):
    """An INSERT statement: all before the values, and the marks of one row."""

    head: str
    row: str


@cache
def insert_into(table: str, columns: Sequence[str], *, binary: Collection[str], vendor: str) -> Insert:  # noqa: ARG001 - a key of the cache
    """Return the statement that stores rows of these columns; `binary` names those of bytes, never NULL."""
    quote = connection.ops.quote_name
    marks = ", ".join(_mark(binary=column in binary) for column in columns)
    names = ", ".join(map(quote, columns))
    return Insert(f"INSERT INTO {quote(table)} ({names}) VALUES ", f"({marks})")  # noqa: S608 - our own names


def insert(statement: Insert, rows: Sequence[Sequence[Any]]) -> None:
    """Store rows, their values as the driver takes them."""
    with connection.cursor() as cursor:
        if len(rows) > 1 and connection.vendor == "sqlite":
            cursor.executemany(statement.head + statement.row, rows)
            return
        row, own = statement.row, rows
        if len(rows) > 1:
            row, own = _with_shared(cursor, statement, rows)
        for batch in _batches(own):
            marks = ", ".join([row] * len(batch))
            cursor.execute(statement.head + marks, list(chain.from_iterable(batch)))


def update(
    table: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    key: str,
    binary: Collection[str] = (),
    unless_changed: str = "",
) -> int:
    """Update existing rows; return how many were changed. A missing row is not created.

    Each row gives its key after the values, and then, if `unless_changed` names a column, the value that
    this column must still hold. `binary` names the columns that hold bytes, and never NULL.
    """
    if not rows:
        return 0
    quote = connection.ops.quote_name
    names = [*columns, key, *([unless_changed] if unless_changed else [])]
    marks = [_mark(binary=name in binary) for name in names]
    alone = len(rows) == 1 or connection.vendor == "sqlite"
    given = marks if alone else [f"given.v{number}" for number in range(len(names))]
    equal = [
        f"{'' if alone else 'stored.'}{quote(name)} = {value}"
        for name, value in zip(names, given, strict=True)
    ]
    assigned, wanted = ", ".join(equal[: len(columns)]), " AND ".join(equal[len(columns) :])
    with connection.cursor() as cursor:
        if alone:
            cursor.executemany(f"UPDATE {quote(table)} SET {assigned} WHERE {wanted}", rows)  # noqa: S608 - our own names
            return int(cursor.rowcount)
        # The driver would send a statement for each row.
        first = ", ".join(f"{mark} AS v{number}" for number, mark in enumerate(marks))
        further = f" UNION ALL SELECT {', '.join(marks)}"
        taken = 0
        for batch in _batches(rows):
            values = f"SELECT {first}{further * (len(batch) - 1)}"
            statement = f"UPDATE {quote(table)} stored JOIN ({values}) given ON {wanted} SET {assigned}"  # noqa: S608 - as above
            cursor.execute(statement, list(chain.from_iterable(batch)))
            taken += int(cursor.rowcount)
        return taken


def _mark(*, binary: bool) -> str:
    if not binary:
        return "%s"
    mark: str = connection.ops.binary_placeholder_sql(b"")  # type: ignore[arg-type]  # the stub knows only Case
    return mark


def _batches(rows: Sequence[Sequence[Any]]) -> Iterable[Sequence[Sequence[Any]]]:
    return (rows[start : start + _ROWS_PER_STATEMENT] for start in range(0, len(rows), _ROWS_PER_STATEMENT))


def _with_shared(
    cursor: Any, statement: Insert, rows: Sequence[Sequence[Any]]
) -> tuple[str, Sequence[Sequence[Any]]]:
    """Return the marks of one row with what all rows share written into them, and what each has of its own.

    The driver escapes value by value in Python, which for a thousand rows takes as long as all else here;
    most columns hold the same in each.
    """
    marks, shared, kept = [], [], []
    for mark, column in zip(statement.row[1:-1].split(", "), zip(*rows, strict=True), strict=True):
        if _is_shared(column):
            marks.append(mark)
            value = column[0]
            # The driver reads the statement once more for what is left.
            shared.append(value.replace("%", "%%") if isinstance(value, str) else value)
        else:
            marks.append(mark.replace("%", "%%"))
            kept.append(column)
    row = cursor.mogrify(f"({', '.join(marks)})", shared)
    return row, list(zip(*kept, strict=True)) if kept else [()] * len(rows)


def _is_shared(column: Sequence[Any]) -> bool:
    """Return whether a column holds one value throughout, other than bytes, which need not be text."""
    first = column[0]
    alike = column.count(first) == len(column) and len(set(map(type, column))) == 1
    return alike and not isinstance(first, bytes | bytearray | memoryview)
