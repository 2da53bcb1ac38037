"""Changes the schema while others use it."""

from typing import Any, Final

from django.db import OperationalError
from django.db.backends.mysql import schema

_LOCKED: Final = 1205
# For so long a statement keeps what it holds from everybody; so often it asks again.
_WAIT_SECONDS: Final = 2
_TRIES: Final = 60


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    """Repeats a statement that waited for locks in vain, of which nothing is stored.

    To alter a table, the server locks its rows' children as well. A transaction that has written a child, and
    then reads the table, waits for the statement that waits for it: the server notices no deadlock. Without
    another try part of the migration would be applied.
    """

    def execute(self, sql: Any, params: Any = ()) -> None:
        """Carry out a statement. Raises OperationalError if it waits in vain each time."""
        if self.collect_sql or self.connection.in_atomic_block:
            super().execute(sql, params)
            return
        with self.connection.cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = %s", [_WAIT_SECONDS])
        try:
            for attempt in range(1, _TRIES + 1):
                try:
                    super().execute(sql, params)
                    break
                except OperationalError as error:
                    if attempt == _TRIES or error.args[:1] != (_LOCKED,):
                        raise
        finally:
            with self.connection.cursor() as cursor:
                cursor.execute("SET SESSION innodb_lock_wait_timeout = DEFAULT")
