"""What a transaction costs: on MariaDB one way to the server, that of its end."""

from contextlib import suppress
from math import inf

import pytest
from django.contrib.auth.models import Group
from django.db import (
    DEFAULT_DB_ALIAS,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
    transaction,
)
from django.test.utils import CaptureQueriesContext

from core.db.concurrency import is_collision
from core.db.mariadb import base
from core.db.statements import rows_of_each, write_all, written_and_committed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


def questions() -> int:
    """Return how many statements this session has sent to MariaDB, with this one."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Questions'")
        return int(cursor.fetchone()[1])


def test_a_transaction_takes_two_statements() -> None:
    with (
        CaptureQueriesContext(
            connection,
        ) as told,
        transaction.atomic(),
    ):
        pass
    assert [each["sql"].partition(" ")[0] for each in told.captured_queries] == ["BEGIN", "COMMIT"]


def test_the_server_is_asked_no_more_than_that() -> None:
    if connection.vendor != "mysql":
        # SQLite is a library: what Django tells of is all there is.
        return
    before = questions()
    with transaction.atomic():
        Group.objects.exists()
    assert questions() - before == 3 + 1


def test_the_server_is_not_asked_for_a_transaction_without_statements() -> None:
    if connection.vendor != "mysql":
        return
    before = questions()
    with transaction.atomic():
        pass
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        raise ZeroDivisionError
    assert questions() - before == 1


def test_what_it_stored_is_taken_back_by_a_rollback() -> None:
    with transaction.atomic():
        Group.objects.create(name="stored")
        assert Group.objects.filter(name="stored").exists()
        transaction.set_rollback(True)
    assert not Group.objects.filter(name="stored").exists()


def test_afterwards_each_statement_is_committed_by_itself() -> None:
    with transaction.atomic():
        Group.objects.create(name="first")
    Group.objects.create(name="second")
    connection.close()
    assert Group.objects.filter(name__in=["first", "second"]).count() == 2


def test_a_transaction_begins_along_with_its_first_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "mysql":
        return
    from core.db.mariadb.waiting import WatchedConnection as Connection

    sent: list[bytes] = []
    query = Connection.query

    def spy(self: Connection, statement: bytes) -> None:
        sent.append(bytes(statement))
        query(self, statement)

    connection.ensure_connection()
    monkeypatch.setattr(Connection, "query", spy)
    with transaction.atomic():
        assert not Group.objects.filter(name="stored").exists()
        assert not Group.objects.filter(name="another").exists()
    assert [each.partition(b" `")[0] for each in sent] == [b"START TRANSACTION; SELECT 1 AS", b"SELECT 1 AS"]


def test_what_fails_first_in_a_transaction_is_raised_there() -> None:
    Group.objects.create(name="stored")
    with pytest.raises(IntegrityError), transaction.atomic():
        Group.objects.create(name="stored")
    unknown = ProgrammingError if connection.vendor == "mysql" else OperationalError
    with pytest.raises(unknown), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")
    assert Group.objects.count() == 1


def test_a_transaction_that_ended_before_its_savepoint_has_collided() -> None:
    # As on a node of Galera where another node's writer was first: its row is met, and the savepoint is gone.
    def meet() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
            raise IntegrityError

    def go_on() -> None:
        with transaction.atomic():
            Group.objects.create(name="begun")
            with suppress(IntegrityError):
                meet()
            Group.objects.exists()

    if connection.vendor != "mysql":
        return
    with pytest.raises(OperationalError) as raised:
        go_on()
    assert is_collision(raised.value)
    assert not Group.objects.exists()


def test_many_rows_may_be_the_first_statement_of_a_transaction() -> None:
    with transaction.atomic():
        Group.objects.bulk_create([Group(name=name) for name in ("first", "second", "third")])
        transaction.set_rollback(True)
    assert not Group.objects.exists()


def test_a_connection_that_has_just_answered_is_not_asked_whether_it_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if connection.vendor != "mysql":
        return
    from django.db.backends.mysql.base import DatabaseWrapper

    monkeypatch.setattr(DatabaseWrapper, "is_usable", lambda _self: False)
    database = connections[DEFAULT_DB_ALIAS]
    database.ensure_connection()
    database.connection.answered = -inf
    assert not database.is_usable()
    assert questions()
    assert database.connection.answered > -inf
    # Now, however long this test takes.
    database.connection.answered = inf
    assert database.is_usable()
    monkeypatch.setattr(database, "errors_occurred", True)
    assert not database.is_usable()


@pytest.mark.parametrize("is_node", [False, True])
def test_a_node_of_a_cluster_takes_each_write_of_a_transaction_by_itself(
    is_node: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where another node ends the transaction within a message, the rest is answered as done, and is not.
    if connection.vendor != "mysql":
        return
    connection.ensure_connection()
    monkeypatch.setattr(connection.connection, "is_node", is_node)
    messages: list[bytes] = []
    query = base.LazyConnection.query

    def noted(self: base.LazyConnection, text: bytes) -> None:
        messages.append(text)
        query(self, text)

    monkeypatch.setattr(base.LazyConnection, "query", noted)
    insert = "INSERT INTO auth_group (name) VALUES (%s)"
    with transaction.atomic():
        write_all([(insert, ["first"]), (insert, ["second"])])
        written_and_committed([(insert, ["third"]), (insert, ["fourth"])])
        assert connection.connection.committed is not is_node
    assert [text.count(b"INSERT") for text in messages if b"INSERT" in text] == (
        [1, 1, 1, 1] if is_node else [2, 2]
    )
    assert sorted(Group.objects.values_list("name", flat=True)) == ["first", "fourth", "second", "third"]
    assert len(rows_of_each([("SELECT 1", []), ("SELECT 2", [])])) == 2
    assert messages[-1] == b"SELECT 1; SELECT 2"
