"""What a transaction costs: a statement that begins it and one that ends it, on MariaDB as well."""

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

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
        pass
    assert questions() - before == 2 + 1


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
