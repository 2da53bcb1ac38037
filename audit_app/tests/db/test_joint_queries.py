"""What is asked together answers as what is asked one by one: MariaDB takes it by one way, SQLite in turn."""

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import CharField
from django.test.utils import CaptureQueriesContext

from audit_app.models import SinkState
from core.db.prepared import Argument, PreparedQuery, change, insertion
from core.db.statements import asked, written

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]
MARIADB = connection.vendor == "mysql"
BY_NAME = PreparedQuery(lambda: SinkState.objects.filter(name=Argument(0, CharField())).order_by())
NAMES = PreparedQuery(
    lambda: SinkState.objects.filter(name=Argument(0, CharField())).order_by().values_list("name")
)
FIRST, SECOND = "50 % of 'a'; --", 'b "\\" %s'


def both() -> list[object]:
    return [BY_NAME.first(FIRST), NAMES.all(SECOND)]


def test_each_query_finds_its_answer_once() -> None:
    first = SinkState.objects.create(name=FIRST)
    SinkState.objects.create(name=SECOND)
    with (
        CaptureQueriesContext(connection) as sent,
        asked(lambda: [BY_NAME.statement(FIRST), NAMES.statement(SECOND)]),
    ):
        assert both() == [first, [(SECOND,)]]
        assert len(sent) == (1 if MARIADB else 2)
        # The second time it is asked again.
        SinkState.objects.filter(name=FIRST).delete()
        assert both() == [None, [(SECOND,)]]


def test_what_nobody_asked_is_forgotten_after_the_block() -> None:
    with asked(lambda: [BY_NAME.statement(FIRST), NAMES.statement(SECOND)]):
        pass
    SinkState.objects.create(name=FIRST)
    assert BY_NAME.first(FIRST) is not None


def test_what_was_asked_before_a_transaction_is_no_answer_inside_it() -> None:
    with asked(lambda: [BY_NAME.statement(FIRST), NAMES.statement(SECOND)]):
        SinkState.objects.create(name=FIRST)
        with transaction.atomic():
            assert BY_NAME.first(FIRST) is not None


def test_queries_see_what_was_written_before_them() -> None:
    row = SinkState.objects.create(name=FIRST, position=1)
    row.position = 2
    new = SinkState(name=SECOND)
    changed = change(row, {"position"}, unless_changed="position", was=1)
    with (
        transaction.atomic(),
        CaptureQueriesContext(connection) as sent,
        written(
            [changed, insertion(new)], asking=lambda: [BY_NAME.statement(FIRST), NAMES.statement(SECOND)]
        ) as (one, two),
    ):
        found, names = BY_NAME.first(FIRST), NAMES.all(SECOND)
    assert found is not None
    assert (found.position, names, one.changed) == (2, [(SECOND,)], 1)
    assert SinkState.objects.get(name=SECOND).pk == two.id
    assert len([each for each in sent.captured_queries if each["sql"] != "COMMIT"]) == (1 if MARIADB else 4)


def test_none_is_carried_out_after_one_that_fails() -> None:
    SinkState.objects.create(name=FIRST)
    writes = [insertion(SinkState(name=SECOND)), insertion(SinkState(name=FIRST))]
    with pytest.raises(IntegrityError), transaction.atomic(), written(writes, asking=list):
        pytest.fail("the second one has failed")
    assert [each.name for each in SinkState.objects.all()] == [FIRST]


def test_a_row_that_another_has_changed_is_not_written() -> None:
    row = SinkState.objects.create(name=FIRST, position=1)
    changed = change(row, {"position"}, unless_changed="position", was=7)
    with transaction.atomic(), written([changed], asking=list) as (one,):
        assert one.changed == 0
