"""Many rows by one statement: plain values, rows of one model, and long lists in parts.

SQLite prepares a statement once and runs it for each row; MariaDB gets many rows in one statement. Django's
own ways make several calls for each value: a push of 1,000 spent two thirds of its time in `bulk_update`,
which builds a CASE for each value.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast
from uuid import UUID

from django.db import connection, models

from core.db.columns import ExactCharField

Item = TypeVar("Item")
# As many ids as a statement may name on every database.
BATCH: Final = 500


def in_batches(items: Sequence[Item], size: int = BATCH) -> Iterator[Sequence[Item]]:
    """Return the items in runs of so many at most."""
    return (items[start : start + size] for start in range(0, len(items), size))


# A hundred of the largest envelopes stay below the 16 MiB that MariaDB takes in a statement.
_ROWS_PER_STATEMENT: Final = 100
# A statement ends with the row that reaches this; the largest envelope adds 130 KB.
_CHARACTERS_PER_STATEMENT: Final = 1_000_000


class Insert(NamedTuple):
    """An INSERT statement: all before the values, the marks of one row, and what follows the values."""

    head: str
    row: str
    tail: str = ""


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
        if len(rows) <= 1 or connection.vendor == "sqlite":
            cursor.executemany(statement.head + statement.row + statement.tail, rows)
            return
        for text in _statements(statement, rows):
            cursor.execute(text)


def insert_returning(statement: Insert, columns: str, rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Store rows as `insert` does, and return these columns of each; not on SQLite."""
    found: list[tuple[Any, ...]] = []
    with connection.cursor() as cursor:
        for text in _statements(statement, rows):
            cursor.execute(f"{text} RETURNING {columns}")
            found += cursor.fetchall()
    return found


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
        for batch in in_batches(rows, _ROWS_PER_STATEMENT):
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


def _statements(statement: Insert, rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Yield INSERT statements with the values of rows written into them.

    The driver escapes value by value in Python, and then formats the statement, which for a thousand rows
    takes as long as all else here. A column at once takes a third of it.
    """
    literals = zip(*map(_literals, zip(*rows, strict=True)), strict=True)
    batch: list[str] = []
    size = 0
    for row in literals:
        batch.append(f"({','.join(row)})")
        size += len(batch[-1])
        if size >= _CHARACTERS_PER_STATEMENT:
            yield statement.head + ",".join(batch) + statement.tail
            batch, size = [], 0
    if batch:
        yield statement.head + ",".join(batch) + statement.tail


def _literals(column: Sequence[Any]) -> Iterable[str]:
    """Return the values of a column as SQL of MariaDB, escaped by its driver unless they are plain."""
    kinds = set(map(type, column))
    if kinds == {bytes}:
        return [f"x'{value.hex()}'" for value in column]
    if kinds == {int}:
        return map(str, column)
    driver = connection.connection
    if len(kinds) == 1 and column.count(column[0]) == len(column):
        return [driver.literal(column[0]).decode()] * len(column)
    escape = driver.string_literal if kinds == {str} else driver.literal
    return [escape(value).decode() for value in column]


# Types that drivers accept unchanged; a field of any other class converts its value itself.
_AS_THEY_ARE: Final = frozenset(
    {models.BigAutoField, models.BooleanField, models.CharField, models.PositiveIntegerField, ExactCharField}
)

if TYPE_CHECKING:
    Field = models.Field[object, object]

Read = Callable[[models.Model], Any]


@cache
def insert_all(model: type[models.Model], vendor: str) -> tuple[Insert, Sequence["Field"]]:
    """Return the INSERT of all columns of a model but its id, and their fields."""
    fields = [cast("Field", field) for field in model._meta.concrete_fields if not field.primary_key]
    columns = tuple(str(field.column) for field in fields)
    return insert_into(model._meta.db_table, columns, binary=_binary(fields), vendor=vendor), fields


def insert_rows(rows: Sequence[models.Model], *, tail: str = "") -> None:
    """Insert new instances of one model, which do not get to know their ids; no signals, no `save`.

    `tail` is SQL that follows the values, such as `merge_clause`.
    """
    if not rows:
        return
    statement, fields = insert_all(type(rows[0]), connection.vendor)
    statement = statement._replace(tail=tail)
    reads = [_read(field) for field in fields]
    insert(statement, [[read(row) for read in reads] for row in rows])


def merge_clause(key: Sequence[str], merged: Mapping[str, str]) -> str:
    """Return what an INSERT does to a row that has its key.

    It names for each column which value stays: "new", "sum", "least" or "greatest".
    """
    quote = connection.ops.quote_name
    is_sqlite = connection.vendor == "sqlite"
    least, greatest = ("MIN", "MAX") if is_sqlite else ("LEAST", "GREATEST")
    forms = {"new": "{new}", "sum": "{old} + {new}", "least": f"{least}({{old}}, {{new}})"}
    forms["greatest"] = f"{greatest}({{old}}, {{new}})"
    sets = []
    for column, how in merged.items():
        name = quote(column)
        new = f"excluded.{name}" if is_sqlite else f"VALUES({name})"
        sets.append(f"{name} = {forms[how].format(old=name, new=new)}")
    begin = (
        f"ON CONFLICT ({', '.join(map(quote, key))}) DO UPDATE SET"
        if is_sqlite
        else "ON DUPLICATE KEY UPDATE"
    )
    return f" {begin} {', '.join(sets)}"


def update_rows(rows: Sequence[models.Model], columns: Sequence[str]) -> None:
    """Store the named fields of rows of one model, which are stored already; no signals, no `save`."""
    if not rows:
        return
    meta = rows[0]._meta
    fields = [cast("Field", meta.get_field(name)) for name in columns]
    primary = cast("Field", meta.pk)
    reads = [_read(field) for field in [*fields, primary]]
    update(
        meta.db_table,
        [str(field.column) for field in fields],
        [[read(row) for read in reads] for row in rows],
        key=str(primary.column),
        binary=_binary(fields),
    )


def _binary(fields: Sequence["Field"]) -> frozenset[str]:
    return frozenset(str(field.column) for field in fields if isinstance(field, models.BinaryField))


@cache
def _read(field: "Field") -> Read:
    """Return what takes a field's value from an instance as the driver stores it."""
    value = attrgetter(field.attname)
    if type(field) in _AS_THEY_ARE:
        return value
    if type(field) in {models.UUIDField, models.ForeignKey} and not connection.features.has_native_uuid_field:
        return lambda row: key.hex if isinstance(key := value(row), UUID) else key
    if type(field) is models.DateTimeField:
        return lambda row: (
            None if (at := value(row)) is None else connection.ops.adapt_datetimefield_value(at)
        )
    return lambda row: field.get_db_prep_save(value(row), connection)
