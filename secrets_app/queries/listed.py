"""List pages of secrets as plain rows, by statements that are composed once a process.

An instance for each secret costs several times what the database takes for a page. A row that is as Keeper
writes it is taken as it comes, once its MAC proves it. Any other row becomes an instance, which is judged
as everywhere. A test holds the two together.

To compose the statement of a page takes Django longer than the database takes to answer it. A page that one
grant shows has one of few statements, with other values. It holds what `visible_secrets` and `listed` give;
a test holds both together.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any, Final, NamedTuple, cast

from django.db import connection
from django.db.models import BigIntegerField, Field, Q, QuerySet
from django.db.models.query import BaseIterable

from audit_app.events.actions import Action
from audit_app.integrity.proven_table import ProvenTable
from audit_app.integrity.row_authentication import verified_rows
from audit_app.interfaces import keyring
from core.canonical_json import Json
from core.db import statements
from core.db.identity import uuid_text
from core.db.prepared import Argument, PreparedQuery
from core.pagination import AskedPage, Cursor, Ordering
from environments_app.authorization.permissions import ROLE_ACTIONS
from environments_app.authorization.policy import Grant, Principal, installation_actions
from secrets_app.models import Secret
from secrets_app.models.tags import SEPARATOR


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
    guarded: bool
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


_SECRETS: Final = ProvenTable(
    Secret,
    [name for name in ListedSecret._fields if name not in {"environment", "uses_references"}],
)
# What is read of the environment besides: its uuid proves where the secret is.
_PLACE: Final = ("environment__uuid", "environment__name")
_IN_ORDER: Final = itemgetter(*ListedSecret._fields)
_PK: Final = len(_PLACE) + _SECRETS.columns.index("pk")


def listed(secrets: QuerySet[Secret]) -> "QuerySet[Any, ListedSecret | Secret]":
    """Return the same secrets as plain rows; one that does not prove itself is an instance."""
    rows: QuerySet[Any, Any] = secrets.select_related(None).values_list(*_PLACE, *_SECRETS.columns)
    rows._iterable_class = _ListedRows  # noqa: SLF001 - as `values_list` does
    return rows


def genuine(rows: Sequence[ListedSecret | Secret]) -> list[ListedSecret | Secret]:
    """Return the rows that prove themselves; report the others, which are not shown."""
    return [row for row in rows if isinstance(row, ListedSecret) or verified_rows([row])]


def all_proven(rows: Sequence[Sequence[Any]]) -> list[ListedSecret] | None:
    """Return the secrets of rows of `listed` as the database gives them; None unless all prove themselves."""
    secrets = []
    for row in rows:
        secret = _proven(row)
        if secret is None:
            return None
        secrets.append(secret)
    return secrets


class _ListedRows(BaseIterable):  # type: ignore[type-arg]  # generic to the type checker only
    """Reads rows without the converters of their fields."""

    def __iter__(self) -> Iterator[ListedSecret | Secret]:
        keyring().open_all()
        compiler = self.queryset.query.get_compiler(self.queryset.db)
        for rows in compiler.execute_sql():
            secrets = [_proven(row) for row in rows]
            others = [row[_PK] for row, secret in zip(rows, secrets, strict=True) if secret is None]
            instances = Secret.objects.select_related("environment").in_bulk(others) if others else {}
            for row, secret in zip(rows, secrets, strict=True):
                if secret is not None:
                    yield secret
                elif row[_PK] in instances:
                    yield instances[row[_PK]]


def _proven(row: Sequence[Any]) -> ListedSecret | None:
    """Return the secret of a row; None unless its MAC proves it and each column is readable."""
    uuid, environment, *columns = row
    if not type(uuid) is type(environment) is str:
        return None
    secret = _SECRETS.prove(columns, {"environment.uuid": uuid_text(uuid)})
    if secret is None:
        return None
    secret |= {
        "environment": Named(environment),
        "uses_references": bool(secret["resolves_as"]),
        "guarded": bool(secret["guarded"]),
        "tags": [tag for tag in secret["tags"].split(SEPARATOR) if tag],
    }
    return ListedSecret(*_IN_ORDER(secret))


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

    Returns None if one of them does not prove itself, or the page begins where there is no value.
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
