"""Stores new secrets with their first versions, given as plain rows."""

from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from typing import Final

from django.db import connection, models

from audit_app.many_rows import Insert, insert, insert_into
from secrets_app.models import Secret, SecretVersion
from secrets_app.new_rows import SECRET_COLUMNS, VERSION_COLUMNS, NewRow

_IDS_PER_QUERY: Final = 500


def insert_rows(rows: Sequence[NewRow]) -> list[int]:
    """Insert new secrets and their versions; return the ids of the secrets. Call it in a transaction.

    Raises IntegrityError if a name lives already.
    """
    insert(_statement(Secret, SECRET_COLUMNS), [row.secret for row in rows])
    ids = _ids(rows)
    versions = [(pk, *row.version) for pk, row in zip(ids, rows, strict=True)]
    insert(_statement(SecretVersion, VERSION_COLUMNS), versions)
    return ids


def _statement(model: type[models.Model], columns: Sequence[str]) -> Insert:
    table = model._meta.db_table
    return insert_into(table, tuple(columns), binary=_binary(model), vendor=connection.vendor)


@cache
def _binary(model: type[models.Model]) -> frozenset[str]:
    fields = model._meta.concrete_fields
    return frozenset(str(field.column) for field in fields if isinstance(field, models.BinaryField))


def _ids(rows: Sequence[NewRow]) -> list[int]:
    """Return the ids that the database gave to new secrets, in their order."""
    found: dict[str, int] = {}
    table = connection.ops.quote_name(Secret._meta.db_table)
    uuids = [row.uuid for row in rows]
    as_text = str if connection.features.has_native_uuid_field else attrgetter("hex")
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            # Nobody else writes during its transaction: these are the newest.
            cursor.execute(f"SELECT uuid, id FROM {table} ORDER BY id DESC LIMIT %s", [len(uuids)])  # noqa: S608 - our own names
            found.update(cursor.fetchall())
        else:
            for start in range(0, len(uuids), _IDS_PER_QUERY):
                batch = [as_text(uuid) for uuid in uuids[start : start + _IDS_PER_QUERY]]
                marks = ", ".join(["%s"] * len(batch))
                cursor.execute(f"SELECT uuid, id FROM {table} WHERE uuid IN ({marks})", batch)  # noqa: S608 - our own names
                found.update(cursor.fetchall())
    return [found[as_text(uuid)] for uuid in uuids]
