"""Lets a row be read whatever SQL has put into it.

SQLite keeps any bytes in any column. Django raises where they do not fit the field, so that one
edited row would break every list that holds it. Here a column that cannot be read gives what
Keeper never writes: the row is there, and its MAC or the chain shows that it was edited.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3 import base, operations
from django.utils.dateparse import parse_datetime

UNREADABLE_UUID: Final = UUID(int=2**128 - 1)
# Long past, so that what should have ended at an unreadable time has ended.
UNREADABLE_TIME: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - SQLite's times are in UTC without an offset
# No number that Keeper counts with.
UNREADABLE_NUMBER: Final = -1
_REPLACEMENT: Final = "\ufffd"
_TEXTS: Final = frozenset({"CharField", "TextField"})
_NUMBERS: Final = frozenset({"BigIntegerField", "PositiveIntegerField"})


def readable_time(stored: bytes) -> datetime:
    """Return the time that a column of times holds, or UNREADABLE_TIME."""
    try:
        return parse_datetime(stored.decode()) or UNREADABLE_TIME
    except ValueError:
        return UNREADABLE_TIME


def readable_text(stored: bytes) -> str:
    """Return the text of a column, with a mark for each byte that is not UTF-8.

    The driver calls it for every text of every row, which is most of what a row costs: without a word
    more, decoding takes two thirds of the time.
    """
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored.decode(errors="replace")


@contextmanager
def strict_text(database: BaseDatabaseWrapper) -> Iterator[None]:
    """Have SQLite's driver decode text inside without a callback: many rows take a fifth less time.

    Text that is not UTF-8 raises OperationalError there. Other databases are left as they are.
    """
    database.ensure_connection()
    driver = database.connection if database.vendor == "sqlite" else None
    if driver is None:
        yield
        return
    driver.text_factory = str
    try:
        yield
    finally:
        driver.text_factory = readable_text


def _uuid(stored: Any, *_: Any) -> UUID | None:
    try:
        return None if stored is None else UUID(stored)
    except (ValueError, TypeError, AttributeError):
        return UNREADABLE_UUID


def _text(stored: Any, *_: Any) -> Any:
    # The mark also keeps bytes that happen to be the genuine text from passing for it.
    return _REPLACEMENT + readable_text(stored) if isinstance(stored, bytes) else stored


def _binary(stored: Any, *_: Any) -> bytes | None:
    return stored if stored is None or isinstance(stored, bytes) else b""


def _number(stored: Any, *_: Any) -> Any:
    return UNREADABLE_NUMBER if isinstance(stored, str | bytes) else stored


class DatabaseOperations(operations.DatabaseOperations):
    """Converts what does not fit its field as well."""

    def get_db_converters(self, expression: Any) -> list[Any]:
        kind = expression.output_field.get_internal_type()
        if kind == "UUIDField":
            return [_uuid]
        converters = super().get_db_converters(expression)
        if kind in _TEXTS:
            return [_text, *converters]
        if kind in _NUMBERS:
            return [_number, *converters]
        return [_binary, *converters] if kind == "BinaryField" else converters


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to SQLite on which every stored row can be read."""

    ops_class = DatabaseOperations

    def get_new_connection(self, conn_params: Any) -> Any:
        """Connect, reading text that is not UTF-8 as well."""
        connection = super().get_new_connection(conn_params)
        connection.text_factory = readable_text
        return connection

    def _start_transaction_under_autocommit(self) -> None:
        """Begin a transaction by the driver itself, unless someone looks at the statements."""
        if self.queries_logged or self.execute_wrappers:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]  # the stub lacks it
            return
        with self.wrap_database_errors:
            self.connection.execute(f"BEGIN {self.transaction_mode or 'DEFERRED'}")  # type: ignore[attr-defined]  # as above


# The driver applies these by the declared type of a column, before Django sees the value.
sqlite3.register_converter("datetime", readable_time)
sqlite3.register_converter("timestamp", readable_time)
