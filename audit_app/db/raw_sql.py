"""Runs the statements of hot paths by SQLite's own driver.

Django's cursors cost as much there as the statements themselves. They are used when query logging or
execute wrappers are active, and for every database other than SQLite.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper


def first_row(database: BaseDatabaseWrapper, sql: str, values: Sequence[Any]) -> Sequence[Any] | None:
    """Return the first row of a query, None if there is none."""
    if _goes_by_django(database):
        with database.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchone()  # type: ignore[no-any-return]  # the stub knows no types of rows
    _make_ready(database)
    with database.wrap_database_errors:
        return database.connection.execute(_marked(sql), values).fetchone()  # type: ignore[no-any-return]  # as above


def all_rows(database: BaseDatabaseWrapper, sql: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
    """Return the rows of a query."""
    if _goes_by_django(database):
        with database.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()  # type: ignore[no-any-return]  # the stub knows no types of rows
    _make_ready(database)
    with database.wrap_database_errors:
        return database.connection.execute(_marked(sql), values).fetchall()  # type: ignore[no-any-return]  # as above


def insert(database: BaseDatabaseWrapper, sql: str, values: Sequence[Any]) -> int:
    """Store a row and return the id that the database gave it."""
    if _goes_by_django(database):
        with database.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.lastrowid  # type: ignore[no-any-return]  # as above
    _make_ready(database)
    with database.wrap_database_errors:
        return database.connection.execute(_marked(sql), values).lastrowid  # type: ignore[no-any-return]  # as above


def write(database: BaseDatabaseWrapper, sql: str, values: Sequence[Any]) -> tuple[int, int]:
    """Carry a statement out; return how many rows it changed, and the id of a new one."""
    if _goes_by_django(database):
        with database.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.rowcount, cursor.lastrowid
    _make_ready(database)
    with database.wrap_database_errors:
        done = database.connection.execute(_marked(sql), values)
        return done.rowcount, done.lastrowid


def execute(database: BaseDatabaseWrapper, sql: str, values: Sequence[Any] = ()) -> int:
    """Carry a statement out and return how many rows it changed."""
    if _goes_by_django(database):
        with database.cursor() as cursor:
            # Without values Django passes a percent sign unchanged, as the driver does.
            cursor.execute(sql, values or None)
            return cursor.rowcount  # type: ignore[no-any-return]  # as above
    _make_ready(database)
    with database.wrap_database_errors:
        return database.connection.execute(_marked(sql), values).rowcount  # type: ignore[no-any-return]  # as above


def _goes_by_django(database: BaseDatabaseWrapper) -> bool:
    return database.vendor != "sqlite" or database.queries_logged or bool(database.execute_wrappers)


def _make_ready(database: BaseDatabaseWrapper) -> None:
    database.ensure_connection()
    database.validate_no_broken_transaction()


@lru_cache(maxsize=512)
def _marked(sql: str) -> str:
    """Return a statement with the marks of SQLite's driver, which Django would put in again each time."""
    return sql.replace("%s", "?")
