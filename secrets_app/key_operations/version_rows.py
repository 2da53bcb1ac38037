"""Versions as plain rows, and the statement that puts a new envelope in the place of the one that was read.

Model instances and an UPDATE through the ORM for each row would take most of a re-sealing's time.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Length

from audit_app.db.bulk_sql import update
from audit_app.recording.drafts import ManifestEntry
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import SecretVersion

# How many bytes of envelopes a batch holds; their values and what they become come on top.
MAX_BATCH_BYTES: Final = 16 * 1024 * 1024


class StoredValue(NamedTuple):
    """A version's row: its value, still sealed, and its place."""

    pk: int
    version: UUID
    number: int
    stored: Sealed
    secret: UUID
    name: str

    @property
    def manifest_entry(self) -> ManifestEntry:
        return ManifestEntry(secret_uuid=str(self.secret), number=self.number, name=self.name)


def next_batch(rows: QuerySet[SecretVersion], *, after: int, size: int) -> QuerySet[SecretVersion]:
    """Return the rows that follow a primary key: at most `size`, and at most 16 MiB of envelopes or one."""
    following = rows.filter(pk__gt=after).order_by("pk")
    last, total = after, 0
    for pk, length in following.values_list("pk", Length("value"))[:size]:
        total += length or 0
        if total > MAX_BATCH_BYTES and last != after:
            break
        last = pk
    return following.filter(pk__lte=last)


def stored_values(rows: QuerySet[SecretVersion]) -> list[StoredValue]:
    """Return these versions as plain rows, in their order."""
    columns = ("pk", "uuid", "number", "value", "secret__uuid", "secret__name")
    return [StoredValue(*row) for row in rows.values_list(*columns)]


def replace(fresh: Sequence[tuple[StoredValue, bytes]], data_key: UUID) -> int:
    """Give rows new envelopes under a data key, in one transaction; return how many rows took theirs.

    A row that no longer holds the envelope that was read, or is gone, stays as it is.
    """
    field = SecretVersion._meta.get_field("data_key")
    key = field.get_db_prep_value(data_key, connection)
    with transaction.atomic():
        return update(
            SecretVersion._meta.db_table,
            ("value", field.column),
            [(envelope, key, row.pk, row.stored.envelope) for row, envelope in fresh],
            key="id",
            binary=("value",),
            unless_changed="value",
        )
