"""Many rows at once hold just what they were given, whether all share a value or each has its own."""

from functools import partial
from typing import Any

import pytest
from django.db import connection
from hypothesis import example, given
from hypothesis import strategies as st

from audit_app.models import RefusalCount
from core.db.bulk import insert, insert_into, update

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


KINDS = st.tuples(
    st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=20),
    st.none() | st.integers(0, 2**31 - 1),
    st.none() | st.integers(1, 999_999).map("2026-11-25 12:00:00.{:06}".format),
)


@given(rows=st.lists(KINDS, min_size=1, max_size=5), times=st.sampled_from([1, 60]))
@example(rows=[(NASTY, b"\xff\x00'\\", 7, None)], times=1)
@example(rows=[(None, b"", None, None), (NASTY, b"\xff\x00'\\", 7, "2026-11-25 12:00:00.000001")], times=60)
def test_each_row_takes_its_own_values_and_no_other_row_any(rows: list[tuple[Any, ...]], times: int) -> None:
    moment = {"sqlite": "text"}.get(connection.vendor, "datetime(6)")
    given = rows * times
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS changed")
        cursor.execute(f"CREATE TEMPORARY TABLE changed (k integer, a text, b blob, c integer, d {moment})")
        before = [(number, "kept", b"kept", 1, None) for number in range(len(given) + 1)]
        insert(
            insert_into("changed", ("k", "a", "b", "c", "d"), binary=("b",), vendor=connection.vendor), before
        )
        gone = ("another", b"row", 2, None, -1)
        changed = [(*values, number) for number, values in enumerate(given)]
        update("changed", ("a", "b", "c", "d"), [*changed, gone], key="k", binary=("b",))
        cursor.execute("SELECT a, b, c, d FROM changed ORDER BY k")
        found = [(*row[:3], row[3] and str(row[3])) for row in cursor.fetchall()]
    assert found == [*given, ("kept", b"kept", 1, None)]


@pytest.mark.parametrize("count", [1, 2, 101])
def test_a_row_that_changed_meanwhile_keeps_what_it_holds(count: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS guarded")
        cursor.execute("CREATE TEMPORARY TABLE guarded (k integer, a text, b blob)")
        first = insert_into("guarded", ("k", "a", "b"), binary=("b",), vendor=connection.vendor)
        insert(first, [(number, "old", b"\xff\x00'A") for number in range(2 * count)])
        fresh = [("new", b"new", number, b"\xff\x00'A") for number in range(count)]
        # Bytes are compared as bytes: a letter of the other case is another one.
        late = [("late", b"late", number, b"\xff\x00'a") for number in range(count, 2 * count)]
        guarded = partial(update, "guarded", ("a", "b"), key="k", binary=("b",), unless_changed="b")
        assert guarded(late) == 0
        assert guarded([*late[:-1], *fresh]) == count
        cursor.execute("SELECT a, b FROM guarded ORDER BY k")
        found = list(cursor.fetchall())
    assert found == [("new", b"new")] * count + [("old", b"\xff\x00'A")] * count


def test_no_rows_are_no_statement() -> None:
    assert update("nowhere", ("a",), [], key="k") == 0
