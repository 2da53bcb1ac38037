"""Rows as lines of JSON that every database understands, and back, exactly as they were stored.

    {"table": "audit_app.AuditEvent", "columns": ["id", "uuid", …]}     before the rows of a table
    [1, "5c0f…", …]                                                     one line a row

Nothing of a model's saving runs in either direction: a row MAC is kept and not computed again, so
that a row which was edited before the backup is found after it as well.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

import orjson
from django.apps import apps
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import connection, models
from django.db.models import sql

from audit_app.models import Derived
from core.canonical_json import utc_text
from environments_app.models import DeviceSignIn, PasswordLink
from operations_app.backup.errors import Altered, Incomplete
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import EnvironmentSnapshot

# (model, field), or (model, "") for a table, in lower case.
Added = frozenset[tuple[str, str]]
Progress = Callable[[str, int], None]

_NOT_KEPT: Final = (AbstractBaseSession, Derived, DeviceSignIn, PasswordLink, EnvironmentSnapshot)
_ROWS_PER_QUERY: Final = 500
_ROWS_PER_INSERT: Final = 100


def tables() -> list[type[models.Model]]:
    """Return the models whose rows a backup holds: all but sessions, snapshots and derived rows."""
    found = [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy and not issubclass(model, _NOT_KEPT)
    ]
    return sorted(found, key=label)


def label(model: type[models.Model]) -> str:
    """Return how a backup names a model."""
    return model._meta.label


def count(model: type[models.Model]) -> int:
    """Return how many rows a table holds."""
    return _all(model).count()


def lines(model: type[models.Model], progress: Progress | None = None) -> Iterator[bytes]:
    """Yield a table's lines, its rows by primary key; memory stays flat.

    `progress(table, rows)` is called with the rows so far, and once more at the end.
    """
    fields = model._meta.concrete_fields
    columns = [field.attname for field in fields]
    yield _line({"table": label(model), "columns": columns})
    key = columns.index(model._meta.pk.attname)
    rows = _all(model).order_by("pk").values_list(*columns)
    last: Any = None
    done = 0
    while batch := list((rows if last is None else rows.filter(pk__gt=last))[:_ROWS_PER_QUERY]):
        for row in batch:
            yield _line([_plain(value) for value in row])
        last = batch[-1][key]
        done += len(batch)
        if progress:
            progress(label(model), done)
    if progress:
        progress(label(model), done)


def load(
    found: Iterable[bytes], progress: Progress | None = None, *, added: Added = frozenset()
) -> dict[str, int]:
    """Insert the rows of lines as they are, in the caller's transaction; return the count of each table.

    `progress(table, rows)` is called with the rows so far. The lines lack what was `added` since; the
    database's defaults stand for it.
    Raises Incomplete if a table or a column is none of that release, Altered if a value is not of its column.
    """
    known = {label(model): model for model in tables() if (model._meta.label_lower, "") not in added}
    counts: dict[str, int] = dict.fromkeys(known, 0)
    table: _Table | None = None
    for line in found:
        content = orjson.loads(line)
        if isinstance(content, dict):
            if table is not None:
                table.flush()
            table = _Table(known, content, added)
        elif table is None:
            raise Altered("a row stands before its table")
        else:
            table.add(content)
            counts[table.name] += 1
            if progress:
                progress(table.name, counts[table.name])
    if table is not None:
        table.flush()
    return counts


class _Table:
    """The table whose rows are being inserted."""

    def __init__(self, known: dict[str, type[models.Model]], header: dict[str, Any], added: Added) -> None:
        self.name = str(header.get("table"))
        if self.name not in known:
            raise Incomplete(f"the backup holds a table that this release does not know: {self.name}")
        self._model = known[self.name]
        meta = self._model._meta
        self._fields = [
            field for field in meta.concrete_fields if (meta.label_lower, field.name.lower()) not in added
        ]
        if [field.attname for field in self._fields] != header.get("columns"):
            raise Incomplete(f"the columns of {self.name} are not those of this release")
        self._waiting: list[models.Model] = []

    def add(self, values: Sequence[Any]) -> None:
        try:
            given = {
                field.attname: _stored(field, value)
                for field, value in zip(self._fields, values, strict=True)
            }
        except (ValueError, TypeError, AttributeError) as error:
            # AttributeError: a number where a uuid is.
            raise Altered(f"a row of {self.name} holds what its columns never do") from error
        self._waiting.append(self._model(**given))
        if len(self._waiting) >= _ROWS_PER_INSERT:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        query = sql.InsertQuery(self._model)
        # Raw: no field computes anything before it is saved.
        query.insert_values(self._fields, self._waiting, raw=True)
        query.get_compiler(connection.alias).execute_sql()
        self._waiting.clear()


def _all(model: type[models.Model]) -> models.QuerySet[Any]:
    return models.QuerySet(model)


def _line(content: object) -> bytes:
    return orjson.dumps(content) + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Sealed):
        return b64encode(value.envelope).decode()
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(bytes(value)).decode()
    if isinstance(value, datetime):
        return utc_text(value)
    return str(value) if isinstance(value, UUID | date) else value


def _stored(field: "models.Field[Any, Any]", value: Any) -> Any:
    """Return a value as the field keeps it on an instance."""
    if value is None:
        return None
    if field.is_relation and field.remote_field is not None:
        field = field.target_field  # type: ignore[attr-defined]  # a foreign key, since the column is concrete
    kind = field.get_internal_type()
    if kind == "BinaryField":
        content = b64decode(value, validate=True)
        return Sealed(content) if hasattr(field, "require_sealed") else content
    if kind == "DateTimeField":
        return datetime.fromisoformat(value).astimezone(UTC)
    if kind == "DateField":
        return date.fromisoformat(value)
    return UUID(value) if kind == "UUIDField" else value
