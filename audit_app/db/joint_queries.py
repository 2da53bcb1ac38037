"""Several queries by one way to a server that takes them together."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from audit_app.db import raw_sql


def rows_of_each(queries: Sequence[tuple[str, Sequence[Any]]]) -> list[Sequence[Sequence[Any]]]:
    """Return the rows of each query, which is its SQL and its values."""
    database = connections[DEFAULT_DB_ALIAS]
    if database.vendor != "mysql":
        return [raw_sql.all_rows(database, sql, values) for sql, values in queries]
    with database.cursor() as cursor:
        cursor.execute("; ".join(sql for sql, _ in queries), list(chain.from_iterable(v for _, v in queries)))
        found = [cursor.fetchall()]
        while cursor.nextset():
            found.append(cursor.fetchall())
    return found
