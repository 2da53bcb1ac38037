"""A prepared query gives what the ORM gives, and what is stored by one statement is what `save` stores."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.db.models import CharField, Model, QuerySet
from django.test.utils import CaptureQueriesContext

from audit_app.models import RefusalCount, SinkState, StreamCursor, StreamHead
from core.db import statements
from core.db.prepared import Argument, PreparedQuery, change, insert

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
NASTY = '100 % of it\'s \\ "quoted" %s %(x)s ; -- \u00e9\U0001f511'
AT = datetime(2026, 11, 27, 12, 0, 0, 120_000, tzinfo=UTC)


def update(row: Model, names: set[str], *, unless_changed: str, was: int) -> bool:
    return statements.write(connection, *change(row, names, unless_changed=unless_changed, was=was))[0] == 1


def columns(row: Model | None) -> dict[str, Any]:
    assert row is not None
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def by_name(name: str) -> SinkState | None:
    query = PreparedQuery(lambda: SinkState.objects.filter(name=Argument(0, CharField())))
    return query.first(name)


@pytest.mark.parametrize("logged", [False, True])
def test_an_instance_is_the_one_that_the_orm_makes(logged: bool) -> None:
    connection.force_debug_cursor = logged
    try:
        SinkState.objects.create(name=NASTY, position=7, due_at=AT)
        found = by_name(NASTY)
        assert columns(found) == columns(SinkState.objects.get(name=NASTY))
        assert found is not None
        assert (found._state.adding, found._state.db) == (False, "default")
        assert by_name("another") is None
    finally:
        connection.force_debug_cursor = False


def test_what_is_selected_along_takes_no_further_statement() -> None:
    sink = SinkState.objects.create(name="a")
    StreamCursor.objects.create(sink=sink, stream=NASTY, sequence=3)
    query = PreparedQuery(
        lambda: StreamCursor.objects.select_related("sink").filter(stream=Argument(0, CharField()))
    )
    with CaptureQueriesContext(connection) as captured:
        found = query.first(NASTY)
        assert found is not None
        assert columns(found.sink) == columns(sink)
    assert len(captured) == 1


def test_the_rows_of_values_are_tuples_in_their_order() -> None:
    for name in ("b", "a"):
        SinkState.objects.create(name=name, due_at=AT)
    query = PreparedQuery(lambda: SinkState.objects.order_by("name").values_list("name", "due_at"))
    assert query.all() == [("a", AT), ("b", AT)]


def test_it_is_compiled_once() -> None:
    built: list[None] = []

    def query() -> QuerySet[SinkState]:
        built.append(None)
        return SinkState.objects.filter(name=Argument(0, CharField()))

    prepared = PreparedQuery(query)
    SinkState.objects.create(name="a")
    assert [prepared.first("a") is None, prepared.first("b") is None] == [False, True]
    assert built == [None]


@pytest.fixture(params=["by the ORM", "by one statement"])
def stored(request: pytest.FixtureRequest) -> Callable[[Model], None]:
    return insert if request.param == "by one statement" else lambda row: row.save(force_insert=True)


def test_an_inserted_row_holds_what_was_given(stored: Callable[[Model], None]) -> None:
    row = SinkState(name=NASTY, position=9, due_at=AT)
    stored(row)
    assert (row._state.adding, row._state.db) == (False, "default")
    assert columns(SinkState.objects.get(pk=row.pk)) == columns(row)


def test_a_stored_row_is_not_inserted_again() -> None:
    row = SinkState.objects.create(name="a")
    with pytest.raises(TypeError, match="stored already"):
        insert(row)
    with pytest.raises(IntegrityError):
        insert(SinkState(name="a"))


def test_an_update_stores_the_named_fields_alone() -> None:
    row = RefusalCount.objects.create(minute=AT, address="a", kind="b", count=1)
    row.kind, row.address, row.count = NASTY, "unsaved", 2
    with CaptureQueriesContext(connection) as captured:
        assert update(row, {"kind", "count"}, unless_changed="count", was=1)
    assert len(captured) == 1
    assert RefusalCount.objects.values_list("address", "kind", "count").get() == ("a", NASTY, 2)


def test_an_update_of_what_was_changed_meanwhile_stores_nothing() -> None:
    row = RefusalCount.objects.create(minute=AT, address="a", kind="b", count=1)
    RefusalCount.objects.update(count=5)
    row.kind = "c"
    assert not update(row, {"kind"}, unless_changed="count", was=1)
    assert RefusalCount.objects.values_list("kind", "count").get() == ("b", 5)


def test_bytes_are_stored_as_they_are() -> None:
    head = StreamHead.objects.create(stream="a", sequence=1, hash=b"\x00\xff\x80'\\%s")
    head.hash = bytes(range(256))[:32]
    assert update(head, {"hash"}, unless_changed="sequence", was=1)
    assert bytes(StreamHead.objects.get().hash) == bytes(range(32))
