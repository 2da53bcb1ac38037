"""Runs the statements of hot paths by the driver of the database.

Django's cursors cost as much on SQLite as the statements themselves. They are used when query logging or
execute wrappers are active.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any, Final

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
