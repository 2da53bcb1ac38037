"""The one statement of the hot read: version, secret, environment and token in a single row.

Through the ORM, building and compiling the queries costs several times what the database takes to
answer. The SQL stands here; each column passes through its field's own converters, so that the
instances are those that the ORM makes.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from environments_app.models import Environment, ServiceToken
from secrets_app.models import Secret, SecretVersion

# What no hot read looks at; the instances lack it, as after `defer`.
_UNREAD: Final[dict[type[models.Model], frozenset[str]]] = {
    SecretVersion: frozenset(
        {"data_key_id", "fingerprint", "author", "author_uuid", "comment", "created_at"}
    ),
    Secret: frozenset({"search_text"}),
    Environment: frozenset({"display_name", "description", "colour", "position", "created_at", "updated_at"}),
    ServiceToken: frozenset({"created_by_id", "replaces_id", "created_at", "last_used_address"}),
}
_ALIASES: Final = {SecretVersion: "v", Secret: "s", Environment: "e", ServiceToken: "t"}
_SECRET_OF: Final = SecretVersion._meta.get_field("secret")
_ENVIRONMENT_OF: Final = Secret._meta.get_field("environment")
_TOKENS_ENVIRONMENT: Final = ServiceToken._meta.get_field("environment")


class HotRow(NamedTuple):
    """The current version of a living secret, and a token of the secret's environment."""

    version: SecretVersion
    token: ServiceToken


def row_by_id(secret_id: int, *, public_id: str) -> HotRow | None:
    """Return the row of a secret and a token, or None if the two do not meet in an environment."""
    return _row("s.id = %s", secret_id, public_id)


def row_by_name(environment: str, name: str, *, public_id: str) -> HotRow | None:
    """Return the row as `row_by_id` does, by the names of the environment and the secret."""
    return _row("e.name = %s AND s.name = %s", environment, name, public_id)


class _Part(NamedTuple):
    """A model's columns within the row."""

    model: type[models.Model]
    names: frozenset[str]
    columns: slice

    def of(self, row: list[Any]) -> Any:
        return self.model.from_db(DEFAULT_DB_ALIAS, self.names, row[self.columns])


class _Statement(NamedTuple):
    sql: str
    # With the marks of SQLite's driver, which Django would put in anew for each execution.
    driver_sql: str | None
    parts: Sequence[_Part]
    converters: Sequence[tuple[int, Callable[..., Any], Any]]


def _row(condition: str, *values: int | str) -> HotRow | None:
    # The connection itself: its proxy looks the thread's one up at each use.
    database = connections[DEFAULT_DB_ALIAS]
    statement = _statement(database.vendor, condition)
    found = _fetched(database, statement, values)
    if found is None:
        return None
    row = list(found)
    for place, convert, expression in statement.converters:
        row[place] = convert(row[place], expression, database)
    version, secret, environment, token = (part.of(row) for part in statement.parts)
    # The attributes themselves would ask the database router at each assignment.
    _SECRET_OF.set_cached_value(version, secret)
    _ENVIRONMENT_OF.set_cached_value(secret, environment)
    _TOKENS_ENVIRONMENT.set_cached_value(token, environment)
    return HotRow(version, token)


def _fetched(database: BaseDatabaseWrapper, statement: _Statement, values: Sequence[int | str]) -> Any:
    if statement.driver_sql is None or database.queries_logged:
        with database.cursor() as cursor:
            cursor.execute(statement.sql, values)
            return cursor.fetchone()
    database.ensure_connection()
    with database.wrap_database_errors:
        return database.connection.execute(statement.driver_sql, values).fetchone()


@cache
def _statement(vendor: str, condition: str) -> _Statement:
    database = connections[DEFAULT_DB_ALIAS]
    quote = database.ops.quote_name
    columns: list[str] = []
    converters: list[tuple[int, Callable[..., Any], Any]] = []
    parts = []
    for model, alias in _ALIASES.items():
        fields = [field for field in model._meta.concrete_fields if field.attname not in _UNREAD[model]]
        start = len(columns)
        for place, field in enumerate(fields, start):
            columns.append(f"{alias}.{quote(str(field.column))}")
            column = field.cached_col
            # As the ORM's compiler orders them.
            found = database.ops.get_db_converters(column) + column.get_db_converters(database)
            converters += [(place, convert, column) for convert in found]
        names = frozenset(field.attname for field in fields)
        parts.append(_Part(model, names, slice(start, len(columns))))
    version, secret, environment, token = (
        f"{quote(model._meta.db_table)} {alias}" for model, alias in _ALIASES.items()
    )
    sql = (
        f"SELECT {', '.join(columns)} FROM {secret} "  # noqa: S608 - our own names
        f"JOIN {environment} ON e.id = s.environment_id "
        f"JOIN {version} ON v.secret_id = s.id AND v.number = s.current_number "
        f"JOIN {token} ON t.environment_id = e.id "
        f"WHERE s.live = 1 AND {condition} AND t.public_id = %s"
    )
    driver_sql = sql.replace("%s", "?") if vendor == "sqlite" else None
    return _Statement(sql, driver_sql, parts, converters)
