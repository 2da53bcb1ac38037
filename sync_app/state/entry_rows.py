"""Reads what Keeper stores of each name at a target, as plain rows that prove themselves.

A thousand instances, converted and proved one by one, cost a pass as much CPU as the target's list. A row
that is as Keeper writes it becomes an instance once its MAC proves it; any other row is read again through
its model, which judges and reports it. A test holds the two together.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, OperationalError, connection
from django.db.models import Q

from audit_app.integrity.proven_table import ProvenTable
from audit_app.integrity.row_authentication import verified_rows
from audit_app.interfaces import keyring
from core.db.bulk import in_batches
from core.db.sqlite3.base import strict_text
from sync_app.domain.delivery_state import DeliveryState
from sync_app.domain.reconciliation import Ownership, Reason
from sync_app.models import SyncEntry, Target

_COLUMNS: Final = tuple(field.attname for field in SyncEntry._meta.concrete_fields)
_ROWS: Final = ProvenTable(SyncEntry, _COLUMNS)
_PK: Final = _ROWS.columns.index("id")
Stored = Sequence[Any]
# The `base_form` of an entry that stands in for a decoy (planning/stand_ins.py): nothing is there of it.
STAND_IN: Final = "decoy"
# Entries that claim nothing, and those of what was noted as gone from the target.
NOT_OURS: Final = Q(ownership=Ownership.NONE) | Q(base_form=STAND_IN)
GONE: Final = Q(reason=Reason.WITHDRAWN) | Q(state=DeliveryState.MISSING)


def load_under(target: Target, scope: str) -> list[SyncEntry]:
    """Return the genuine entries of a target whose names lie under a prefix; report the others."""
    if not scope:
        return _load(target, "", [])
    # "0" follows "/" in the order of bytes.
    within = "AND (e.name = %s OR (e.name >= %s AND e.name < %s))"
    return _load(target, within, [scope, f"{scope}/", f"{scope}0"])


def load_named(target: Target, names: Iterable[str]) -> dict[str, SyncEntry]:
    """Return the genuine entries of some names; report the others."""
    found = []
    for part in in_batches(list(names)):
        found += _load(target, f"AND e.name IN ({', '.join(['%s'] * len(part))})", part)
    return {str(entry.name): entry for entry in found}


def delivered_names(target: Target) -> set[str]:
    """Return the names of what is Keeper's in a target and was not noted as gone; no entry is proved."""
    rows = SyncEntry.objects.filter(target=target).exclude(NOT_OURS | GONE)
    return {*rows.values_list("name", flat=True)}


def _load(target: Target, condition: str, parameters: Sequence[str]) -> list[SyncEntry]:
    found: list[SyncEntry] = []
    others: list[Any] = []
    keyring().open_all()
    for row in _fetch(target, condition, parameters):
        entry = _proven(target, row)
        if entry is None:
            others.append(row[_PK])
        else:
            found.append(entry)
    found = [entry for entry in found if entry.base_form != STAND_IN]
    if not others:
        return found
    rows = list(SyncEntry.objects.filter(target=target, pk__in=others))
    for judged in rows:
        judged.target = target
    return found + verified_rows(rows)


def _fetch(target: Target, condition: str, parameters: Sequence[str]) -> Sequence[Stored]:
    statement = (
        f"SELECT {_ROWS.select('e')} FROM {_ROWS.table} e "  # noqa: S608 - our own names
        f"WHERE e.target_id = %s {condition} ORDER BY e.name"
    )
    with connection.cursor() as cursor:
        try:
            with strict_text(connection):
                cursor.execute(statement, [target.pk, *parameters])
                return list(cursor.fetchall())
        except OperationalError:
            # Text that is not UTF-8, which proves nothing; any other reason is met again.
            cursor.execute(statement, [target.pk, *parameters])
            return list(cursor.fetchall())


def _proven(target: Target, stored: Stored) -> SyncEntry | None:
    """Return a row as an instance if its columns are what its fields store and its MAC is valid."""
    row = _ROWS.prove(stored, {"target.uuid": str(target.uuid)})
    if row is None:
        return None
    row["uuid"], row["secret_uuid"] = UUID(row["uuid"]), row["secret_uuid"] and UUID(row["secret_uuid"])
    entry = SyncEntry.from_db(DEFAULT_DB_ALIAS, _COLUMNS, [row[name] for name in _COLUMNS])
    # One object for all, so that no row asks for its target again.
    entry.target = target
    return entry
