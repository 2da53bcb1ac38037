"""Statements that go together answer as one by one: MariaDB takes them by one message, SQLite in turn."""

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import CharField
from django.test.utils import CaptureQueriesContext

from audit_app.events import streams
from audit_app.models import SinkState
from audit_app.recording import event_store
from core.db.prepared import Argument, PreparedQuery, change, insertion
from core.db.statements import Precondition, have_rows, rows_of_each, write_all

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]
MARIADB = connection.vendor == "mysql"
NAMES = PreparedQuery(
    lambda: SinkState.objects.filter(name=Argument(0, CharField())).order_by().values_list("name")
)
FIRST, SECOND = "50 % of 'a'; --", 'b "\\" %s'


def test_each_query_has_its_rows() -> None:
    SinkState.objects.create(name=SECOND)
    with CaptureQueriesContext(connection) as sent:
        found = rows_of_each([NAMES.statement(FIRST), NAMES.statement(SECOND)])
    assert [[*map(tuple, rows)] for rows in found] == [[], [(SECOND,)]]
    assert len(sent) == (1 if MARIADB else 2)


def test_whether_queries_have_rows_is_one_statement() -> None:
    SinkState.objects.create(name=SECOND)
    with CaptureQueriesContext(connection) as sent:
        assert have_rows([NAMES.statement(name) for name in (FIRST, SECOND, FIRST)]) == [False, True, False]
    assert len(sent) == 1


def test_writes_go_together() -> None:
    row = SinkState.objects.create(name=FIRST, position=1)
    row.position = 2
    changed = change(row, {"position"}, unless_changed="position", was=1)
    with transaction.atomic(), CaptureQueriesContext(connection) as sent:
        one, two = write_all([changed, insertion(SinkState(name=SECOND))])
    assert one.changed == 1
    assert SinkState.objects.get(name=FIRST).position == 2
    assert SinkState.objects.get(name=SECOND).pk == two.id
    assert len([each for each in sent.captured_queries if each["sql"] != "COMMIT"]) == (1 if MARIADB else 2)


def test_none_is_carried_out_after_one_that_fails() -> None:
    SinkState.objects.create(name=FIRST)
    writes = [insertion(SinkState(name=name)) for name in (SECOND, FIRST, "third")]
    with pytest.raises(IntegrityError), transaction.atomic():
        write_all(writes)
    assert [each.name for each in SinkState.objects.all()] == [FIRST]


def test_a_row_that_another_has_changed_is_not_written() -> None:
    row = SinkState.objects.create(name=FIRST, position=1)
    with transaction.atomic():
        (one,) = write_all([change(row, {"position"}, unless_changed="position", was=7)])
    assert one.changed == 0


@pytest.mark.parametrize("stream", [streams.SYSTEM, "environment:unopened"])
def test_what_an_act_requires_is_asked_along_with_the_last_lock(stream: str) -> None:
    """Also where the stream is not open yet, and has no head to lock."""
    event_store.open_head(streams.SYSTEM, b"\7" * 32)
    SinkState.objects.create(name=SECOND)
    missing, there = ArithmeticError("missing"), LookupError("there")
    holds = Precondition(NAMES.statement(FIRST), missing)
    with transaction.atomic():
        heads = event_store.lock_head(stream, [holds, holds])
        assert heads == event_store.locked_heads({stream})
        assert event_store.lock_head(stream, []) == heads
        with pytest.raises(LookupError):
            event_store.lock_head(stream, [holds, Precondition(NAMES.statement(SECOND), there)])
