"""The one statement of the hot read: token, environment, secret and version in a single row.

Through the ORM, building and compiling the queries costs several times what the database takes to
answer. The SQL is written here; each column passes through its field's own converters, so that the
instances are those that the ORM makes, and these prove themselves as everywhere.

The row is read each time. What it proves depends on its columns and on the keys alone, so that the
proofs of the rows that were read recently are kept by their complete columns: one that was edited is
another row. Of the value nothing is kept, nor of the version that holds it.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from audit_app.db.raw_sql import first_row
from audit_app.events.streams import environment_stream
from audit_app.interfaces.keyring import keyring
from audit_app.models import deployment_uuid
from audit_app.recording.recorder import AuditObject
from environments_app.authorization.policy import Grant
from environments_app.authorization.principals import grants_on
from environments_app.models import Environment, ServiceToken
from keeper_project.http.json import JsonRenderer
from secrets_app.api.serializers import SecretDocument
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import Secret, SecretVersion
from secrets_app.models.secret import version_context

# What no hot read looks at; the instances lack it, as after `defer`.
_UNREAD: Final[dict[type[models.Model], frozenset[str]]] = {
    ServiceToken: frozenset({"created_by_id", "replaces_id", "last_used_address"}),
    Environment: frozenset({"display_name", "description", "colour", "position", "created_at", "updated_at"}),
    Secret: frozenset({"search_text"}),
    SecretVersion: frozenset(
        {"id", "secret_id", "data_key_id", "fingerprint", "author", "author_uuid", "comment", "created_at"}
    ),
}
_ALIASES: Final = {ServiceToken: "t", Environment: "e", Secret: "s", SecretVersion: "v"}
_ENVIRONMENT_OF: Final = Secret._meta.get_field("environment")
_TOKENS_ENVIRONMENT: Final = ServiceToken._meta.get_field("environment")
# A row of a secret has some three thousand bytes.
_SECRETS_KEPT: Final = 2_048
_TOKENS_KEPT: Final = 512
_DOCUMENT: Final = SecretDocument()
_RENDERER: Final = JsonRenderer()


class Bearer(NamedTuple):
    """A genuine token, and its grants; `tokens` decides whether it may be used now."""

    token: ServiceToken
    grants: tuple[Grant, ...]


class HotSecret(NamedTuple):
    """The data of a genuine secret for a read; `document` is its JSON, open at the end for the value."""

    uuid: UUID
    name: str
    environment_id: int
    environment_uuid: UUID
    etag: str
    stream: str
    audit_object: AuditObject
    document: bytes


class TokenReadRow(NamedTuple):
    """The current version of a living secret, still sealed, and a token of the secret's environment."""

    bearer: Bearer
    secret: HotSecret
    version: UUID
    number: int
    value: Sealed


def row_by_id(secret_id: int, *, public_id: str) -> TokenReadRow | None:
    """Return the row of a secret and a token; None if the two do not meet, or one is not Keeper's."""
    return _row("s.id = %s", secret_id, public_id)


def row_by_name(environment: str, name: str, *, public_id: str) -> TokenReadRow | None:
    """Return the row as `row_by_id` does, by the names of the environment and the secret."""
    return _row("e.name = %s AND s.name = %s", environment, name, public_id)


class _Unproven(Exception):
    """A row was not written by Keeper."""


class _Part(NamedTuple):
    """A model's columns within the row, and what makes the values of its fields of them."""

    model: type[models.Model]
    names: Sequence[str]
    columns: slice
    converters: Sequence[tuple[int, Callable[..., Any], Any]]

    def values(self, columns: Sequence[Any], database: BaseDatabaseWrapper) -> list[Any]:
        found = list(columns)
        for place, convert, expression in self.converters:
            found[place] = convert(found[place], expression, database)
        return found

    def instance(self, columns: Sequence[Any]) -> Any:
        values = self.values(columns, connections[DEFAULT_DB_ALIAS])
        return self.model.from_db(DEFAULT_DB_ALIAS, self.names, values)


class _Parts(NamedTuple):
    token: _Part
    environment: _Part
    secret: _Part
    version: _Part


def _row(condition: str, *values: int | str) -> TokenReadRow | None:
    # The connection itself: its proxy looks the thread's one up at each use.
    database = connections[DEFAULT_DB_ALIAS]
    row = first_row(database, _statement(database.vendor, condition), values)
    if row is None:
        return None
    parts = _parts(database.vendor)
    # What proves a row: the keys of now, of this installation.
    proof = (keyring().generation, deployment_uuid())
    environment = tuple(row[parts.environment.columns])
    try:
        bearer = _bearer(proof, tuple(row[parts.token.columns]), environment)
        secret = _secret(proof, tuple(row[parts.secret.columns]), environment)
    except _Unproven:
        return None
    version, number, value = parts.version.values(row[parts.version.columns], database)
    context = version_context(
        version=version, secret=secret.uuid, number=number, environment=secret.environment_uuid
    )
    return TokenReadRow(bearer, secret, version, number, value.bound(context))


@lru_cache(maxsize=_TOKENS_KEPT)
def _bearer(_proof: object, columns: Sequence[Any], place: Sequence[Any]) -> Bearer:
    token, environment = _parts_here().token.instance(columns), _environment(place)
    # The attribute itself would ask the database router.
    _TOKENS_ENVIRONMENT.set_cached_value(token, environment)
    if not token.is_authentic():
        raise _Unproven
    return Bearer(token, grants_on(token))


@lru_cache(maxsize=_SECRETS_KEPT)
def _secret(_proof: object, columns: Sequence[Any], place: Sequence[Any]) -> HotSecret:
    secret, environment = _parts_here().secret.instance(columns), _environment(place)
    _ENVIRONMENT_OF.set_cached_value(secret, environment)
    if not secret.is_authentic():
        raise _Unproven
    return HotSecret(
        uuid=secret.uuid,
        name=secret.name,
        environment_id=secret.environment_id,
        environment_uuid=environment.uuid,
        etag=f'"{secret.etag}"',
        stream=environment_stream(environment.uuid),
        audit_object=secret.audit_object,
        document=_RENDERER.render(_DOCUMENT.to_representation(secret)).removesuffix(b"}"),
    )


def _environment(columns: Sequence[Any]) -> Environment:
    environment: Environment = _parts_here().environment.instance(columns)
    if not environment.is_authentic():
        raise _Unproven
    return environment


def _parts_here() -> _Parts:
    return _parts(connections[DEFAULT_DB_ALIAS].vendor)


@cache
def _parts(vendor: str) -> _Parts:  # noqa: ARG001 - a key of the cache
    database = connections[DEFAULT_DB_ALIAS]
    parts: list[_Part] = []
    start = 0
    for model in _ALIASES:
        fields = _fields(model)
        converters: list[tuple[int, Callable[..., Any], Any]] = []
        for place, field in enumerate(fields):
            column = field.cached_col
            # As the ORM's compiler orders them.
            found = database.ops.get_db_converters(column) + column.get_db_converters(database)
            converters += [(place, convert, column) for convert in found]
        names = [field.attname for field in fields]
        parts.append(_Part(model, names, slice(start, start + len(fields)), converters))
        start += len(fields)
    return _Parts(*parts)


@cache
def _statement(vendor: str, condition: str) -> str:  # noqa: ARG001 - a key of the cache
    quote = connections[DEFAULT_DB_ALIAS].ops.quote_name
    columns = [
        f"{alias}.{quote(str(field.column))}" for model, alias in _ALIASES.items() for field in _fields(model)
    ]
    token, environment, secret, version = (
        f"{quote(model._meta.db_table)} {alias}" for model, alias in _ALIASES.items()
    )
    return (
        f"SELECT {', '.join(columns)} FROM {secret} "  # noqa: S608 - our own names
        f"JOIN {environment} ON e.id = s.environment_id "
        f"JOIN {version} ON v.secret_id = s.id AND v.number = s.current_number "
        f"JOIN {token} ON t.environment_id = e.id "
        f"WHERE s.live = 1 AND {condition} AND t.public_id = %s"
    )


def _fields(model: type[models.Model]) -> Sequence[Any]:
    return [field for field in model._meta.concrete_fields if field.attname not in _UNREAD[model]]
