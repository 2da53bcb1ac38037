"""Whether the file of SQLite is whole: a damaged page may hold rows that no other check asks for."""

from collections.abc import Iterator
from typing import Final

from django.db import DatabaseError, connection

from audit_app.integrity.check_registry import Problem

_MOST: Final = 20


def problems() -> Iterator[Problem]:
    """Yield what SQLite finds in its pages and indexes; other databases check theirs themselves.

    It reads the whole file, without the comparison of each index with its table.
    """
    if connection.vendor != "sqlite":
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA quick_check({_MOST})")
            found = [str(message) for (message,) in cursor.fetchall()]
    except DatabaseError as error:
        found = [str(error)]
    for message in found:
        if message != "ok":
            yield Problem(
                kind="damaged",
                object="the SQLite file",
                message=f"{message}; stop Keeper, keep a copy of the file, and restore the last backup",
            )
