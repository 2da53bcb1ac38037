"""SQL sent to the server by its driver: one statement, or several together.

The statements of hot paths go to the driver, because Django's cursors cost as much on SQLite as the
statements themselves. Django's cursors are used when query logging or execute wrappers are active.

A server that takes several statements together gets them by one way. A query that will be needed next can
go along: its answer is then found once, and within the block alone. SQLite is a library: there each query
runs when its turn comes.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from threading import Lock
from typing import Any, Final, NamedTuple, TypeAlias

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

# SQLite's driver gives up the interpreter's lock at each row: threads that fetch at the same moment would
# take it from each other at every row.
_ROWS: Final = Lock()


def first_row(database: BaseDatabaseWrapper, sql: str, values: Sequence[Any]) -> Sequence[Any] | None:
    """Return the first row of a query, None if there is none."""
    if not _is_sqlite_alone(database):
        with cursor_of(database) as cursor:
            cursor.execute(sql, values)
            return cursor.fetchone()  # type: ignore[no-any-return]  # the stub knows no types of rows
    _make_ready(database)
    with database.wrap_database_errors:
        return database.connection.execute(_marked(sql), values).fetchone()  # type: ignore[no-any-return]  # as above


def all_rows(database: BaseDatabaseWrapper, sql: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
    """Return the rows of a query."""
    if not _is_sqlite_alone(database):
        with cursor_of(database) as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()  # type: ignore[no-any-return]  # the stub knows no types of rows
    _make_ready(database)
    with database.wrap_database_errors, _ROWS:
        return database.connection.execute(_marked(sql), values).fetchall()  # type: ignore[no-any-return]  # as above


def write(database: BaseDatabaseWrapper, sql: str, values: Sequence[Any]) -> tuple[int, int]:
    """Carry a statement out; return how many rows it changed, and the id of a new one."""
    if not _is_sqlite_alone(database):
        with cursor_of(database) as cursor:
            cursor.execute(sql, values)
            return cursor.rowcount, cursor.lastrowid
    _make_ready(database)
    with database.wrap_database_errors:
        done = database.connection.execute(_marked(sql), values)
        return done.rowcount, done.lastrowid


@contextmanager
def cursor_of(database: BaseDatabaseWrapper) -> Iterator[Any]:
    """Give the cursor of a server's driver, or Django's around it if someone looks at the statements."""
    if _is_watched(database):
        with database.cursor() as cursor:
            yield cursor
        return
    database.close_if_health_check_failed()
    _make_ready(database)
    with database.wrap_database_errors:
        cursor = database.create_cursor()
        try:
            yield cursor
        finally:
            cursor.close()


def _is_sqlite_alone(database: BaseDatabaseWrapper) -> bool:
    return database.vendor == "sqlite" and not _is_watched(database)


def _is_watched(database: BaseDatabaseWrapper) -> bool:
    return database.queries_logged or bool(database.execute_wrappers)


def _make_ready(database: BaseDatabaseWrapper) -> None:
    database.ensure_connection()
    database.validate_no_broken_transaction()


@lru_cache(maxsize=512)
def _marked(sql: str) -> str:
    """Return a statement with the marks of SQLite's driver, which Django would put in again each time."""
    return sql.replace("%s", "?")


Rows: TypeAlias = Sequence[Sequence[Any]]


class Statement(NamedTuple):
    """SQL, and its values as the driver takes them."""

    sql: str
    values: Sequence[Any]


# What names queries, where they are asked together.
Asking: TypeAlias = Callable[[], Sequence[Statement]]


class Written(NamedTuple):
    """How many rows a statement changed, and the id that it gave a new one."""

    changed: int
    id: int


class _Answers(threading.local):
    """The answers that this thread has, and whether they were given within a transaction."""

    rows: dict[tuple[str, tuple[Any, ...]], Rows] | None = None
    in_transaction = False


_answers = _Answers()


def takes_together() -> bool:
    """Return whether one more statement costs no way of its own."""
    return connections[DEFAULT_DB_ALIAS].vendor == "mysql"


def rows_of_each(queries: Sequence[tuple[str, Sequence[Any]]]) -> list[Rows]:
    """Return the rows of each query, which is its SQL and its values."""
    database = connections[DEFAULT_DB_ALIAS]
    if not takes_together():
        return [all_rows(database, sql, values) for sql, values in queries]
    return [rows for rows, _ in _at_once(database, queries)]


def written_by_each(statements: Sequence[tuple[str, Sequence[Any]]]) -> list[Written]:
    """Carry statements out on MariaDB; return what each has written."""
    return [written for _, written in _at_once(connections[DEFAULT_DB_ALIAS], statements)]


def written_and_committed(statements: Sequence[tuple[str, Sequence[Any]]]) -> list[Written]:
    """Carry out the last statements of a transaction on MariaDB, and commit it by the same message.

    Where one fails, nothing is committed. So each has to fail where it does not find what it expects.
    """
    database = connections[DEFAULT_DB_ALIAS]
    written = [written for _, written in _at_once(database, [*statements, ("COMMIT", [])])]
    database.connection.committed = True
    return written[:-1]


@contextmanager
def asked(named: Asking) -> Iterator[None]:
    """Ask queries at once that are asked within the block."""
    database = connections[DEFAULT_DB_ALIAS]
    queries = named() if database.vendor == "mysql" else []
    if len(queries) <= 1:
        yield
        return
    with _answered(database, queries, rows_of_each(queries)):
        yield


@contextmanager
def written(writes: Sequence[Statement], *, asking: Asking) -> Iterator[Sequence[Written]]:
    """Carry out writes, then ask queries that are asked within the block; give what each has written."""
    database = connections[DEFAULT_DB_ALIAS]
    if database.vendor != "mysql":
        yield [Written(*write(database, sql, values)) for sql, values in writes]
        return
    queries = asking()
    found = _at_once(database, [*writes, *queries])
    with _answered(database, queries, [rows for rows, _ in found[len(writes) :]]):
        yield [each for _, each in found[: len(writes)]]


def rows_of(database: BaseDatabaseWrapper, sql: str, values: Sequence[Any]) -> Rows:
    """Return the rows of a query, by the answer that it has already if it has one."""
    rows = _taken(database, sql, values)
    return all_rows(database, sql, values) if rows is None else rows


def first_row_of(database: BaseDatabaseWrapper, sql: str, values: Sequence[Any]) -> Sequence[Any] | None:
    """Return the first row of a query as `rows_of` does, None if there is none."""
    rows = _taken(database, sql, values)
    if rows is None:
        return first_row(database, sql, values)
    return rows[0] if rows else None


def _taken(database: BaseDatabaseWrapper, sql: str, values: Sequence[Any]) -> Rows | None:
    # What was asked before a transaction is no answer inside it.
    if not _answers.rows or _answers.in_transaction is not database.in_atomic_block:
        return None
    return _answers.rows.pop((sql, tuple(values)), None)


@contextmanager
def _answered(
    database: BaseDatabaseWrapper, queries: Sequence[Statement], answers: Sequence[Rows]
) -> Iterator[None]:
    before = _answers.rows, _answers.in_transaction
    keys = [(sql, tuple(values)) for sql, values in queries]
    _answers.rows = dict(zip(keys, answers, strict=True))
    _answers.in_transaction = database.in_atomic_block
    try:
        yield
    finally:
        _answers.rows, _answers.in_transaction = before


def _at_once(
    database: BaseDatabaseWrapper, statements: Sequence[tuple[str, Sequence[Any]]]
) -> list[tuple[Rows, Written]]:
    """Carry statements out; raise what the first one raises that fails, and carry out none after it."""
    sql = "; ".join(sql for sql, _ in statements)
    with cursor_of(database) as cursor:
        cursor.execute(sql, list(chain.from_iterable(values for _, values in statements)))
        found = [(cursor.fetchall(), Written(cursor.rowcount, cursor.lastrowid))]
        # What fails further on is raised where its result is taken.
        while cursor.nextset():
            found.append((cursor.fetchall(), Written(cursor.rowcount, cursor.lastrowid)))
    return found
