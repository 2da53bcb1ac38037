"""The cast as rows: made once a process, and stored again by plain SQL for each test that asks for it.

Making it costs a test more than most tests do themselves: five system keys, six people, two environments
and five memberships, each under a MAC, with its history and its event. The rows are those that `make_cast`
stored, MACs and chain included; only the process that reads them is new. It holds the same system keys as one
that opens those rows.
"""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from django.conf import settings
from django.core.management.color import no_style
from django.db import connection, transaction

from audit_app.interfaces import keyring
from audit_app.models import deployment_uuid
from environments_app.tests.cast import Cast, make_cast
from secrets_app.keys import system_keyring
from secrets_app.keys.providers.registry import provider

# What the rows depend on: under other settings the stored keys do not open.
_SETTINGS: Final = (
    "KEEPER_KEYRING",
    "KEY_MANAGEMENT_BACKEND",
    "KEEPER_LOCAL_KEY_FILE",
    "KEEPER_LOCAL_KEY_PASSPHRASE",
    "KMS_KEY_ID",
    "KMS_KEY_ALIAS",
    "KMS_ALLOWED_KEYS",
    "KMS_ENCRYPTION_CONTEXT",
)


@dataclass(frozen=True)
class TableRows:
    """The rows of one table, as the driver gives them and takes them."""

    table: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]

    def store(self) -> None:
        """Insert the rows."""
        quote = connection.ops.quote_name
        columns = ", ".join(map(quote, self.columns))
        places = ", ".join(["%s"] * len(self.columns))
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {quote(self.table)} ({columns}) VALUES ({places})",
                self.rows,
            )


@dataclass(frozen=True)
class Template:
    """The cast, the rows that it consists of, their system keys, and the settings under which these open."""

    cast: Cast
    tables: Sequence[TableRows]
    made_under: str
    # Pickled, which is by far the fastest way to a copy: each test has people of its own.
    _people: bytes
    _keys: system_keyring._OpenKeys

    def fits(self) -> bool:
        """Say whether `store` leaves what `make_cast` would: nothing is stored yet, and the keys open."""
        return self.made_under == settings_now() and not _have_rows(self.tables)

    def store(self) -> Cast:
        """Store the rows, hold the keys, and return the cast as `make_cast` did."""
        with transaction.atomic(savepoint=False), connection.constraint_checks_disabled():
            for table in self.tables:
                table.store()
        self._hold_keys()
        people: Cast = pickle.loads(self._people)
        return people

    def _hold_keys(self) -> None:
        """Leave this process as if it had opened the keys, which takes longer than to store the rows."""
        deployment_uuid()
        provider().resolve("")
        opened = keyring()
        assert isinstance(opened, system_keyring.SystemKeyring)
        keys = self._keys
        opened.install(replace(keys, active={**keys.active}, by_id={**keys.by_id}, broken=[*keys.broken]))


def make_template(*, committed: bool) -> Template:
    """Make the cast in an empty database, note its rows, and leave the database empty.

    `committed` makes it as a test without a transaction around it would: then the system keys are pinned
    by a commit, and the trail tells of their creation.
    """
    empty = [table for table in _tables() if not _rows_of(table).rows]
    if committed:
        assert not connection.in_atomic_block, "the trail would not tell of the keys"
        template = _made(empty)
        _empty([table.table for table in template.tables])
        return template
    with transaction.atomic():
        template = _made(empty)
        transaction.set_rollback(True)
    return template


def stored_tables() -> list[TableRows]:
    """Return what is stored at this moment, table by table: after the migrations, what these leave."""
    return [found for found in map(_rows_of, _tables()) if found.rows]


def put_back(tables: Sequence[TableRows]) -> None:
    """Leave these rows in the database and no others.

    Django empties the tables too, and then lets every app make its content types and permissions anew.
    """
    _empty(_tables())
    with transaction.atomic(), connection.constraint_checks_disabled():
        for table in tables:
            table.store()


def settings_now() -> str:
    """Return the settings that the rows depend on, as they are at this moment."""
    return repr([getattr(settings, name) for name in _SETTINGS])


def _made(empty: Sequence[str]) -> Template:
    cast = make_cast()
    tables = [found for found in map(_rows_of, empty) if found.rows]
    keys = system_keyring._open_stored()
    return Template(cast, tables, settings_now(), pickle.dumps(cast), keys)


def _tables() -> list[str]:
    # Django's own list of migrations is none of these: it stays.
    return connection.introspection.django_table_names(only_existing=True, include_views=False)


def _empty(tables: Sequence[str]) -> None:
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables))


def _rows_of(table: str) -> TableRows:
    """Return what a table holds; SQLite's driver converts no value of an expression."""
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        # Django's own description parses the SQL of each table, which takes seconds for all of them.
        cursor.execute(f"SELECT * FROM {quote(table)} LIMIT 0")
        columns = tuple(each[0] for each in cursor.description)
        sign = "+" if connection.vendor == "sqlite" else ""
        wanted = ", ".join(f"{sign}{quote(column)}" for column in columns)
        cursor.execute(f"SELECT {wanted} FROM {quote(table)}")
        return TableRows(table, columns, cursor.fetchall())


def _have_rows(tables: Sequence[TableRows]) -> bool:
    quote = connection.ops.quote_name
    any_row = " OR ".join(f"EXISTS (SELECT 1 FROM {quote(each.table)})" for each in tables)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {any_row}")
        return bool(cursor.fetchone()[0])
