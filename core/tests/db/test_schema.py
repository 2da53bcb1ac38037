"""A migration waits for those who write meanwhile, and they for it: none of its statements is left out."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection

from core.db.mariadb import schema

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.every_database,
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite alters a table while nobody writes"),
]
ALTER = "ALTER TABLE schema_parent ADD COLUMN later int NULL"
WAITS = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT' AND trx_query = %s"


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A transaction that has written a row whose parent's table is about to be altered."""
    monkeypatch.setattr(schema, "_WAIT_SECONDS", 1)
    other = connection.copy()
    with connection.cursor() as cursor, other.cursor() as writing:
        cursor.execute("CREATE TABLE schema_parent (id int PRIMARY KEY)")
        cursor.execute(
            "CREATE TABLE schema_child (id int PRIMARY KEY, parent int, FOREIGN KEY (parent) REFERENCES schema_parent (id))"
        )
        cursor.execute("INSERT INTO schema_parent VALUES (1)")
        cursor.execute("INSERT INTO schema_child VALUES (1, 1)")
        try:
            writing.execute("BEGIN")
            writing.execute("UPDATE schema_child SET id = 2")
            yield writing
        finally:
            other.close()
            cursor.execute("DROP TABLE schema_child, schema_parent")


def alter() -> None:
    with connection.schema_editor() as editor:
        editor.execute(ALTER)


def test_a_statement_that_waits_for_who_waits_for_it_is_repeated(writer: Any) -> None:
    found: list[object] = []

    def waits() -> bool:
        writer.execute(WAITS, [ALTER])
        return bool(writer.fetchone()[0])

    def read() -> None:
        while not waits():
            # Who asks more often than every 0.1 s is answered what was so before.
            time.sleep(0.2)
        writer.execute("SELECT COUNT(*) FROM schema_parent")
        found.append(writer.fetchone())
        writer.execute("COMMIT")

    reading = threading.Thread(target=read)
    reading.start()
    alter()
    reading.join()
    assert found == [(1,)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT later FROM schema_parent")
        assert cursor.fetchall() == ((None,),)
        cursor.execute("SELECT @@SESSION.innodb_lock_wait_timeout = @@GLOBAL.innodb_lock_wait_timeout")
        assert cursor.fetchone() == (1,)


def test_one_that_always_waits_in_vain_fails(writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_TRIES", 1)
    with pytest.raises(OperationalError, match="1205"):
        alter()
    writer.execute("ROLLBACK")
