"""One view of the whole database, as it was at one instant, while others continue writing."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from django.db import DatabaseError, connection

# MariaDB: InnoDB's view as of this statement, without locks. SQLite in WAL mode: as of the
# first reading; not IMMEDIATE, which would hold off every writer.
_BEGIN: Final = {
    "mysql": (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ),
    "sqlite": ("BEGIN DEFERRED", "SELECT 1 FROM sqlite_master LIMIT 1"),
}


@contextmanager
def snapshot() -> Iterator[None]:
    """Let all statements inside see the database as it is now; nothing may be written inside."""
    if connection.in_atomic_block:
        # That transaction is a snapshot already, as the one around a test case is.
        yield
        return
    with connection.cursor() as cursor:
        for statement in _BEGIN[connection.vendor]:
            cursor.execute(statement)
    try:
        yield
    finally:
        _end()


def _end() -> None:
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("ROLLBACK")
        return
    # A connection that cannot even do that must not be used again with the transaction open.
    connection.close()
