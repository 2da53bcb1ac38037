"""Counts the SQL statements of a request, in Keeper's own process."""

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

_NOT_COUNTED = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")


def statements_of(path: str, token: str) -> list[str]:
    """Return the statements of a warm GET, besides BEGIN and COMMIT."""
    client = Client(headers={"authorization": f"Bearer {token}", "host": "127.0.0.1"})
    client.get(path)
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(path)
    if answer.status_code != 200:
        raise RuntimeError(f"{path} answered {answer.status_code}: {answer.content[:500]!r}")
    found = [query["sql"] for query in captured.captured_queries]
    return [sql for sql in found if not sql.startswith(_NOT_COUNTED)]
