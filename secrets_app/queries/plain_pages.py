"""Pages of what one grant shows, by statements that are composed once a process.

To compose the statement of a page takes Django longer than the database takes to answer it. A page that one
grant shows has one of few statements, with other values. It holds what `visible_secrets` and `listed` give; a
test holds both together.
"""

from functools import cache
from typing import Any, Final, cast

from django.db import connection
from django.db.models import BigIntegerField, Field, Q

from audit_app.db import raw_sql
from audit_app.db.prepared import Argument, PreparedQuery
from audit_app.events.actions import Action
from audit_app.pagination import AskedPage, Cursor, Ordering
from environments_app.authorization.permissions import ROLE_ACTIONS
from environments_app.authorization.policy import Grant, Principal, installation_actions
from secrets_app.models import Secret
from secrets_app.queries.listed import ListedSecret, all_proven, listed

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
    return all_proven(raw_sql.all_rows(connection, f"{sql} LIMIT %s", [*bound, page.limit + 1]))


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
