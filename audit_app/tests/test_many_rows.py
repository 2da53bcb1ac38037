"""Many rows at once hold just what they were given, whether all share a value or each has its own."""

from typing import Any

import pytest
from django.db import connection

from audit_app.many_rows import insert, insert_into
from audit_app.models import RefusalCount

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
NASTY = '100 % of it\'s \\ "quoted" %s %(x)s ; -- \u00e9\U0001f511'


def stored(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    columns = ("minute", "address", "kind", "count")
    insert(insert_into(RefusalCount._meta.db_table, columns, binary=(), vendor=connection.vendor), rows)
    return list(RefusalCount.objects.order_by("id").values_list("address", "kind", "count"))


@pytest.mark.parametrize("count", [1, 2, 101, 250])
def test_what_is_shared_and_what_is_not_arrive_alike(count: int) -> None:
    rows = [("2026-11-25 12:00:00", NASTY, f"{NASTY}{number}", number) for number in range(count)]
    assert stored(rows) == [row[1:] for row in rows]


def test_each_column_may_be_the_one_that_differs() -> None:
    rows = [
        ("2026-11-25 12:00:00", "a%s", "b", 1),
        ("2026-11-25 12:00:00", "a%s", "b%", 1),
        ("2026-11-25 12:00:00", "%%s", "b", 1),
    ]
    assert stored(rows) == [row[1:] for row in rows]


def test_rows_that_share_all_are_each_stored() -> None:
    columns = ("sequence", "stream")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE alike (sequence integer, stream varchar(20))")
        insert(insert_into("alike", columns, binary=(), vendor=connection.vendor), [(7, "a%")] * 3)
        cursor.execute("SELECT sequence, stream FROM alike")
        found = list(cursor.fetchall())
    assert found == [(7, "a%")] * 3
