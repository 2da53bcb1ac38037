"""What a database without room raises is told from one that is away."""

import sqlite3
from contextlib import closing

import pytest
from django.db import OperationalError, connection

from core.db.concurrency import is_collision, is_disk_full, reason_of


def full() -> OperationalError:
    """Return what Django raises where SQLite itself finds no room: here its limit of pages is reached."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (c)")
        connection.execute("PRAGMA max_page_count = 2")
        try:
            connection.execute("INSERT INTO t VALUES (zeroblob(1000000))")
        except sqlite3.OperationalError as error:
            raised = OperationalError(*error.args)
            raised.__cause__ = error
            return raised
    raise AssertionError("there was room")


def test_a_full_disk_of_sqlite_is_no_collision() -> None:
    assert is_disk_full(full())
    assert not is_collision(full())


@pytest.mark.parametrize(("number", "is_full"), [(1021, True), (1114, True), (1213, False), (2013, False)])
def test_mariadb_numbers_a_full_disk(number: int, *, is_full: bool) -> None:
    """1021 is ER_DISK_FULL, 1114 ER_RECORD_FILE_FULL (its error codes)."""
    assert is_disk_full(OperationalError(number, "…")) == is_full


def test_another_error_of_sqlite_is_no_full_disk() -> None:
    assert not is_disk_full(OperationalError("no such table"))


def test_a_reason_has_the_words_of_the_driver() -> None:
    assert reason_of(OperationalError(2002, "Can't connect")) == "2002: Can't connect"
    assert reason_of(OperationalError("database or disk is full")) == "database or disk is full"
    assert reason_of(OperationalError()) == "OperationalError"


def test_a_message_that_repeats_the_password_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "PASSWORD", "hunter2")
    assert reason_of(OperationalError(2002, "no mysql://keeper:hunter2@db")) == "OperationalError"
