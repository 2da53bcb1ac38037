"""SQL sent to the server by its driver: one statement, or several together.

The statements of hot paths go to the driver, because Django's cursors cost as much on SQLite as the
statements themselves. Django's cursors are used when query logging or execute wrappers are active.

A server that takes several statements together gets them by one message. SQLite is a library: there each
statement runs when its turn comes. So it does in a transaction on a node of Galera: where another node ends
the transaction between two statements of a message, the node goes on with the rest without it, and answers
each of them, COMMIT too, as done.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from threading import Lock
from typing import Any, Final, NamedTuple, TypeAlias

from django.db import DEFAULT_DB_ALIAS, IntegrityError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from core.db.concurrency import WORK, is_collision

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


def _is_node(database: BaseDatabaseWrapper) -> bool:
    database.ensure_connection()
    return bool(database.connection.is_node)


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


class Result(NamedTuple):
    """What a statement gave: its rows, how many it changed, and the id of a new one."""

    rows: Rows
    changed: int
    id: int


class Precondition(NamedTuple):
    """A query that has no row as long as an act may be carried out, and what is raised otherwise."""

    query: Statement
    error: Exception


def takes_together() -> bool:
    """Return whether one more statement costs no way of its own."""
    database = connections[DEFAULT_DB_ALIAS]
    return database.vendor == "mysql" and not (database.in_atomic_block and _is_node(database))


def rows_of_each(queries: Sequence[tuple[str, Sequence[Any]]]) -> list[Rows]:
    """Return the rows of each query, which is its SQL and its values."""
    database = connections[DEFAULT_DB_ALIAS]
    if not takes_together():
        return [all_rows(database, sql, values) for sql, values in queries]
    return [result.rows for result in _at_once(database, queries)]


def write_all(statements: Sequence[tuple[str, Sequence[Any]]]) -> list[Result]:
    """Carry writes out in their order; return what each has written. None follows one that fails."""
    database = connections[DEFAULT_DB_ALIAS]
    if not takes_together():
        return [Result((), *write(database, sql, values)) for sql, values in statements]
    return _at_once(database, statements)


def have_rows(queries: Sequence[Statement]) -> list[bool]:
    """Return of each query whether it has a row, by one statement."""
    asked = ", ".join(f"EXISTS ({query.sql})" for query in queries)
    values = [*chain.from_iterable(query.values for query in queries)]
    row = first_row(connections[DEFAULT_DB_ALIAS], f"SELECT {asked}", values)
    return [bool(answer) for answer in row or ()]


def has_row_now(query: Statement) -> bool:
    """Return whether a query has a row, which stays as it is until the transaction ends.

    It waits for who is changing the row, and does not read an older state of it.
    """
    database = connections[DEFAULT_DB_ALIAS]
    lock = " LOCK IN SHARE MODE" if database.vendor == "mysql" else ""
    return first_row(database, f"{query.sql}{lock}", query.values) is not None


def written_and_committed(statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
    """Carry out the last statements of a transaction on MariaDB, and commit it by the same message if it may.

    Where one fails, nothing is committed. So each has to fail where it does not find what it expects.
    """
    database = connections[DEFAULT_DB_ALIAS]
    if not takes_together():
        # The transaction's own COMMIT follows.
        write_all(statements)
        return
    stored, WORK.stored = WORK.stored, True
    try:
        _at_once(database, [*statements, ("COMMIT", [])])
    except (IntegrityError, OperationalError) as error:
        # What a server refuses ends the message before its COMMIT.
        if isinstance(error, IntegrityError) or is_collision(error):
            WORK.stored = stored
        raise
    database.connection.committed = True


def _at_once(database: BaseDatabaseWrapper, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[Result]:
    """Carry statements out; raise what the first one raises that fails, and carry out none after it."""
    sql = "; ".join(sql for sql, _ in statements)
    with cursor_of(database) as cursor:
        cursor.execute(sql, list(chain.from_iterable(values for _, values in statements)))
        found = [Result(cursor.fetchall(), cursor.rowcount, cursor.lastrowid)]
        # What fails further on is raised where its result is taken.
        while cursor.nextset():
            found.append(Result(cursor.fetchall(), cursor.rowcount, cursor.lastrowid))
    return found
