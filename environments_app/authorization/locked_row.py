"""How a stored row is changed: locked, and only if it is the one that Keeper wrote."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow, verified_rows
from environments_app.errors import InvalidField, Tampered

Row = TypeVar("Row", bound=AuthenticatedRow)


@contextmanager
def lock_authentic(row: Row, *, beside: Collection[int] = ()) -> Iterator[Row]:
    """Yield the row as it is stored, locked until the block's transaction ends.

    `beside` are the ids of others on which the change depends. They are locked with it, all in the
    order of ids: of two who change each other, one waits, and neither for what the other holds.
    Raises Tampered if it was changed outside Keeper: saving it would make the forgery genuine.
    """
    try:
        with transaction.atomic():
            yield _locked(row, beside)
    except Tampered:
        # Outside the transaction, which was rolled back.
        verified_rows([row])
        raise


def _locked(row: Row, beside: Collection[int]) -> Row:
    rows: models.QuerySet[Row] = models.QuerySet(type(row)).select_for_update()
    if beside:
        list(rows.filter(pk__in={row.pk, *beside}).order_by("pk").values_list("pk"))
    stored = rows.get(pk=row.pk)
    if not stored.is_authentic():
        raise Tampered("The stored row was changed outside Keeper; it can only be removed or replaced.")
    return stored


def set_fields(row: models.Model, changes: Mapping[str, Any]) -> list[str]:
    """Set attributes and return the names of those that differ from before.

    Raises InvalidField if a value breaks the rules of its field.
    """
    changed = [name for name, value in changes.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, changes[name])
    clean_fields(row, changed)
    return changed


def clean_fields(row: models.Model, names: list[str]) -> None:
    """Validate the named fields. Raises InvalidField for the first one that is wrong."""
    others = [field.name for field in row._meta.fields if field.name not in names]
    try:
        row.clean_fields(exclude=others)
    except ValidationError as error:
        name, messages = next(iter(error.message_dict.items()))
        raise InvalidField(name, messages[0]) from error


def require_future(moment: datetime | None) -> datetime | None:
    """Return an expiry unchanged. Raises InvalidField if it lies in the past or names no zone."""
    if moment is not None and (timezone.is_naive(moment) or moment <= timezone.now()):
        raise InvalidField("expires_at", "Enter a time in the future, with a time zone.")
    return moment


def isoformat(moment: datetime | None) -> str | None:
    """Return a time as the audit log writes it in details."""
    return moment.isoformat() if moment else None
