"""Several queries by one way to a server that takes them together."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from django.db import connection


def rows_of_each(queries: Sequence[tuple[str, Sequence[Any]]]) -> list[Sequence[Sequence[Any]]]:
    """Return the rows of each query, which is its SQL and its values."""
    with connection.cursor() as cursor:
        if connection.vendor != "mysql":
            return [cursor.execute(sql, values).fetchall() for sql, values in queries]
        cursor.execute("; ".join(sql for sql, _ in queries), list(chain.from_iterable(v for _, v in queries)))
        found = [cursor.fetchall()]
        while cursor.nextset():
            found.append(cursor.fetchall())
    return found
