"""Queries and writes of hot paths whose SQL Django composes once a process.

To build and compile a query takes Django several times what the database takes to answer it. A
`PreparedQuery` is compiled at its first use, from a queryset with an `Argument` in the place of each value;
its rows become what the ORM makes of them.
"""

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Expression
from django.db.models.query import get_related_populators

from core.db import bulk, statements
from core.db.statements import Statement

T = TypeVar("T")
M = TypeVar("M", bound=models.Model)


class Argument(Expression):
    """The place of a value in a prepared query: the value's position, and the field that prepares it."""

    def __init__(self, position: int, output_field: "models.Field[Any, Any]") -> None:
        super().__init__(output_field=output_field)
        self.position = position

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> Any:  # noqa: ARG002 - Django's signature
        """Return a mark, and this itself as its parameter."""
        return "%s", [self]


class _Compiled(NamedTuple):
    sql: str
    parameters: Sequence[Any]
    converters: Sequence[tuple[int, Sequence[Callable[..., Any]], Any]]
    made: Callable[[Sequence[Any]], Any]


class PreparedQuery(Generic[T]):
    """A query that is compiled once for each database vendor.

    `query` returns a queryset of instances (with `select_related` as well) or of `values_list`; nothing is
    prefetched or annotated on instances.
    """

    def __init__(self, query: Callable[[], "models.QuerySet[Any, T]"]) -> None:
        self._query = query
        self._by_vendor: dict[str, _Compiled] = {}

    def first(self, *values: object) -> T | None:
        """Return what the first row holds, None if there is no row; the values are those of the arguments."""
        database = connections[DEFAULT_DB_ALIAS]
        compiled = self._compiled(database)
        row = statements.first_row(database, compiled.sql, _bound(compiled, values, database))
        return None if row is None else _read(compiled, row, database)

    def all(self, *values: object) -> list[T]:
        database = connections[DEFAULT_DB_ALIAS]
        compiled = self._compiled(database)
        rows = statements.all_rows(database, compiled.sql, _bound(compiled, values, database))
        return [_read(compiled, row, database) for row in rows]

    def statement(self, *values: object) -> Statement:
        """Return what `first` and `all` ask with these values."""
        database = connections[DEFAULT_DB_ALIAS]
        compiled = self._compiled(database)
        return Statement(compiled.sql, _bound(compiled, values, database))

    def _compiled(self, database: BaseDatabaseWrapper) -> _Compiled:
        if database.vendor not in self._by_vendor:
            queryset = self._query()
            compiler = queryset.query.get_compiler(connection=database)
            sql, parameters = compiler.as_sql()
            select = compiler.select
            found = compiler.get_converters([item[0] for item in select])
            converters = [(place, functions, expression) for place, (functions, expression) in found.items()]
            made = tuple if queryset.query.values_select else _instances(compiler.klass_info, select)
            self._by_vendor[database.vendor] = _Compiled(sql, parameters, converters, made)
        return self._by_vendor[database.vendor]


def _instances(info: dict[str, Any], select: Sequence[Any]) -> Callable[[Sequence[Any]], models.Model]:
    """Return what makes instances of rows, as `ModelIterable` does."""
    model, fields = info["model"], info["select_fields"]
    columns = slice(fields[0], fields[-1] + 1)
    names = [item[0].target.attname for item in select[columns]]
    populators = get_related_populators(info, select, DEFAULT_DB_ALIAS)

    def made(row: Sequence[Any]) -> models.Model:
        instance: models.Model = model.from_db(DEFAULT_DB_ALIAS, names, row[columns])
        for each in populators:
            each.populate(row, instance)
        return instance

    return made


def _bound(compiled: _Compiled, values: Sequence[object], database: BaseDatabaseWrapper) -> list[Any]:
    return [
        each.output_field.get_db_prep_value(values[each.position], database, prepared=False)
        if isinstance(each, Argument)
        else each
        for each in compiled.parameters
    ]


def _read(compiled: _Compiled, row: Sequence[Any], database: BaseDatabaseWrapper) -> Any:
    columns = list(row)
    for place, functions, expression in compiled.converters:
        value = columns[place]
        for convert in functions:
            value = convert(value, expression, database)
        columns[place] = value
    return compiled.made(columns)


# --- Writes ---------------------------------------------------------------------------------------


def insert(row: models.Model) -> None:
    """Store a new instance by one statement and give it its id, as `save(force_insert=True)` does.

    Raises TypeError for one that is stored already, and IntegrityError.
    """
    row.pk = statements.write(connections[DEFAULT_DB_ALIAS], *insertion(row))[1]
    row._state.adding = False
    row._state.db = DEFAULT_DB_ALIAS


def insertion(row: models.Model) -> Statement:
    """Return the statement that stores a new instance. Raises TypeError for one that is stored already."""
    if not row._state.adding:
        raise TypeError("the row is stored already")
    database = connections[DEFAULT_DB_ALIAS]
    statement, fields = bulk.insert_all(type(row), database.vendor)
    values = [field.get_db_prep_save(field.pre_save(row, True), database) for field in fields]
    return Statement(statement.head + statement.row, values)


def change(row: models.Model, names: Collection[str], *, unless_changed: str, was: object) -> Statement:
    """Return the statement that stores fields of an instance, if a column still holds what it was read with.

    It changes one row, or none if another has changed it. Fields that give themselves their value as they
    are saved, such as a row's MAC, are among `names` if they must be stored.
    """
    database = connections[DEFAULT_DB_ALIAS]
    meta = row._meta
    fields = [field for field in meta.concrete_fields if field.name in names]
    values = [field.get_db_prep_save(field.pre_save(row, False), database) for field in fields]
    statement = _update(type(row), tuple(field.name for field in fields), unless_changed, database.vendor)
    return Statement(statement, [*values, row.pk, was])


def _mark(field: "models.Field[Any, Any]", database: BaseDatabaseWrapper) -> str:
    if not isinstance(field, models.BinaryField):
        return "%s"
    return database.ops.binary_placeholder_sql(b"")  # type: ignore[arg-type]  # the stub knows only Case


@cache
def _update(model: type[models.Model], names: Sequence[str], unless_changed: str, vendor: str) -> str:  # noqa: ARG001 - a key of the cache
    database = connections[DEFAULT_DB_ALIAS]
    quote = database.ops.quote_name
    fields = [field for field in model._meta.concrete_fields if field.name in names]
    assigned = ", ".join(f"{quote(str(field.column))} = {_mark(field, database)}" for field in fields)
    table, key, column = model._meta.db_table, str(model._meta.pk.column), unless_changed
    return f"UPDATE {quote(table)} SET {assigned} WHERE {quote(key)} = %s AND {quote(column)} = %s"  # noqa: S608 - our own names
