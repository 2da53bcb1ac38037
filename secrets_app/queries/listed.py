"""List pages of secrets as plain rows, by statements that are composed once a process.

An instance for each secret costs several times what the database takes for a page. A row that is as Keeper
writes it is taken as it comes, once its MAC proves it. Any other row becomes an instance, which is judged
as everywhere. A test holds the two together.

To compose the statement of a page takes Django longer than the database takes to answer it. A page that one
grant shows has one of few statements, with other values. It holds what `visible_secrets` and `listed` give;
a test holds both together.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, NamedTuple, cast

from django.db import connection
from django.db.models import BigIntegerField, Field, Q, QuerySet
from django.db.models.query import BaseIterable

from audit_app.errors import UnauthenticatableValue
from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import mac_message, verified_rows
from audit_app.interfaces import Purpose, keyring
from core.canonical_json import Json
from core.db import statements
from core.db.identity import uuid_text
from core.db.prepared import Argument, PreparedQuery
from core.pagination import AskedPage, Cursor, Ordering
from environments_app.authorization.permissions import ROLE_ACTIONS
from environments_app.authorization.policy import Grant, Principal, installation_actions
from secrets_app.models import Secret
from secrets_app.models.tags import SEPARATOR

_PROVEN: Final = (
    "environment__uuid", "uuid", "row_mac", "name", "secret_type", "current_number", "previous_number",
    "pending_number", "live", "resolves_as",
)  # fmt: skip
_FURTHER: Final = (
    "id", "environment_id", "environment__name", "revision", "description", "owner", "tags", "facts",
    "expires_at", "rotated_at", "rotation_due_at", "created_at", "updated_at", "deleted_at",
)  # fmt: skip
_TEXT: Final = {str}


class Named(NamedTuple):
    """An environment, by its name."""

    name: str


class ListedSecret(NamedTuple):
    """A genuine secret in a list, with the attribute names of `Secret`; its uuid as text."""

    pk: int
    uuid: str
    name: str
    secret_type: str
    environment_id: int
    environment: Named
    current_number: int
    revision: int
    description: str
    tags: list[str]
    owner: str
    expires_at: datetime | None
    uses_references: bool
    facts: Mapping[str, Json]
    rotated_at: datetime | None
    rotation_due_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    deleted_at: datetime | None

    @property
    def id(self) -> int:
        """The primary key, by the name of its field."""
        return self.pk


class _Unlike(Exception):
    """A row holds what Keeper does not write."""


def listed(secrets: QuerySet[Secret]) -> "QuerySet[Any, ListedSecret | Secret]":
    """Return the same secrets as plain rows; one that does not prove itself is an instance."""
    rows: QuerySet[Any, Any] = secrets.select_related(None).values_list(*_PROVEN, *_FURTHER)
    rows._iterable_class = _ListedRows  # noqa: SLF001 - as `values_list` does
    return rows


def genuine(rows: Sequence[ListedSecret | Secret]) -> list[ListedSecret | Secret]:
    """Return the rows that prove themselves; report the others, which are not shown."""
    return [row for row in rows if isinstance(row, ListedSecret) or verified_rows([row])]


def all_proven(rows: Sequence[Sequence[Any]]) -> list[ListedSecret] | None:
    """Return the secrets of rows of `listed` as the database gives them; None unless all prove themselves.

    Raises KeyringUnavailable if the keys cannot be opened.
    """
    try:
        found = [_stored(row) for row in rows]
    except (_Unlike, UnauthenticatableValue):
        return None
    if not keyring().verify_all(Purpose.ROW_MAC, [each.proof for each in found]):
        return None
    return [each.secret for each in found]


class _ListedRows(BaseIterable):  # type: ignore[type-arg]  # generic to the type checker only
    """Reads rows without the converters of their fields."""

    def __iter__(self) -> Iterator[ListedSecret | Secret]:
        compiler = self.queryset.query.get_compiler(self.queryset.db)
        for rows in compiler.execute_sql():
            found = [_read(row) for row in rows]
            unlike = [each for each in found if isinstance(each, int)]
            instances = Secret.objects.select_related("environment").in_bulk(unlike) if unlike else {}
            for each in found:
                if not isinstance(each, int):
                    yield each
                elif each in instances:
                    yield instances[each]


def _read(row: Sequence[Any]) -> ListedSecret | int:
    try:
        return _proven(row)
    except (_Unlike, UnauthenticatableValue):
        return cast("int", row[len(_PROVEN)])


class _Stored(NamedTuple):
    """The secret of a row, if what proves it does: the message of its MAC, and the MAC."""

    secret: ListedSecret
    proof: tuple[bytes, bytes]


def _proven(row: Sequence[Any]) -> ListedSecret:
    """Return the secret of a row. Raises _Unlike unless its MAC proves it and each column is readable."""
    secret, proof = _stored(row)
    if not keyring().verify(Purpose.ROW_MAC, *proof):
        raise _Unlike
    return secret


def _stored(row: Sequence[Any]) -> _Stored:
    """Return what a row holds, not proved. Raises _Unlike unless each column is readable."""
    place, uuid, row_mac, name, kind, current, previous, pending, live, resolves_as = row[: len(_PROVEN)]
    pk, environment_id, environment, revision, description, owner, tags, facts, *times = row[len(_PROVEN) :]
    texts = (place, uuid, name, kind, resolves_as, environment, description, owner, tags, facts)
    if {*map(type, texts)} != _TEXT or not (type(current) is type(revision) is int):
        raise _Unlike
    covered = {
        "environment.uuid": uuid_text(place),
        "name": name,
        "secret_type": kind,
        "current_number": current,
        "previous_number": previous,
        "pending_number": pending,
        "live": True if live == 1 else live,
    }
    if resolves_as:
        covered["resolves_as"] = resolves_as
    text = uuid_text(uuid)
    message = mac_message(Secret.MAC_LABEL, text, covered)
    if type(row_mac) is not bytes:
        raise _Unlike
    expires, rotated, due, created, updated, deleted = map(_time, times)
    secret = ListedSecret(
        pk, text, name, kind, environment_id, Named(environment), current, revision, description,
        [tag for tag in tags.split(SEPARATOR) if tag], owner, expires, bool(resolves_as), _facts(facts),
        rotated, due, created, updated, deleted,
    )  # fmt: skip
    return _Stored(secret, (message, row_mac))


def _time(stored: object) -> datetime | None:
    if stored is None:
        return None
    if type(stored) is not datetime:
        raise _Unlike
    # The databases hold UTC.
    return stored.replace(tzinfo=UTC)


def _facts(stored: str) -> Mapping[str, Json]:
    if stored == "{}":
        return {}
    try:
        found = json.loads(stored)
    except ValueError as error:
        raise _Unlike from error
    return cast("Mapping[str, Json]", found)


_ENVIRONMENT, _PREFIX, _FIRST_BELOW, _FIRST_BEHIND, _VALUE, _ID = range(6)
_IDS: Final = BigIntegerField()


def only_grant(actor: Principal) -> Grant | None:
    """Return the one grant by which an actor sees secrets; None if there are more, or none."""
    if len(actor.grants) != 1 or Action.SECRET_VIEW in installation_actions(actor):
        return None
    (grant,) = actor.grants
    return grant if Action.SECRET_VIEW in ROLE_ACTIONS[grant.role] else None


def page_rows(grant: Grant, page: AskedPage) -> list[ListedSecret] | None:
    """Return the living secrets of a page that a grant shows, and one more if there are more.

    Returns None if one of them does not prove itself, or the page begins where there is no value. Raises
    KeyringUnavailable if the keys cannot be opened.
    """
    cursor = page.cursor
    if cursor is not None and cursor.value is None:
        return None
    query = _query(bool(grant.prefix), page.ordering, cursor is not None, page.is_backwards)
    place, prefix = grant.environment_id, grant.prefix
    values = [place, prefix, f"{prefix}/", f"{prefix}0", *((cursor.value, cursor.id) if cursor else ())]
    sql, bound = query.statement(*values)
    return all_proven(statements.all_rows(connection, f"{sql} LIMIT %s", [*bound, page.limit + 1]))


@cache
def _query(
    is_prefixed: bool,  # noqa: FBT001 - a key of the cache
    ordering: Ordering,
    has_cursor: bool,  # noqa: FBT001 - a key of the cache
    backwards: bool,  # noqa: FBT001 - a key of the cache
) -> PreparedQuery[ListedSecret | Secret]:
    field, name = _field(ordering.field), _field("name")
    cursor = Cursor(Argument(_VALUE, field), cast("int", Argument(_ID, _IDS)), backwards)
    page = AskedPage(0, ordering, cursor if has_cursor else None)
    condition = Q(environment_id=Argument(_ENVIRONMENT, _IDS), live=True)
    if is_prefixed:
        # "0" follows "/".
        condition &= Q(name=Argument(_PREFIX, name)) | Q(
            name__gte=Argument(_FIRST_BELOW, name), name__lt=Argument(_FIRST_BEHIND, name)
        )
    return PreparedQuery(lambda: listed(page.narrowed(Secret.objects.filter(condition))))


def _field(name: str) -> "Field[Any, Any]":
    return cast("Field[Any, Any]", Secret._meta.get_field(name))
