"""Rows that prove themselves: a MAC over the columns that decide who reads or where values go."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, Final, TypeVar, cast
from uuid import UUID

from django.core.cache import cache as shared_cache
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import connection, models

from audit_app.errors import UnauthenticatableValue, Unrecorded
from audit_app.events import actors, streams
from audit_app.events.actions import Action, Outcome
from audit_app.interfaces import Purpose, keyring
from audit_app.models import MAC_LENGTH, deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record, record
from core.canonical_json import canonical_json, utc_text
from core.db.identity import Identified
from core.errors import BadDetails

_REPORT_INTERVAL_SECONDS = 60


class RowMacField(models.BinaryField):  # type: ignore[type-arg]  # generic to the type checker only
    """Holds the MAC of its row, computed whenever the ORM writes the row (also in bulk_create)."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", MAC_LENGTH)
        kwargs.setdefault("editable", False)
        super().__init__(**kwargs)

    def pre_save(self, model_instance: models.Model, add: bool) -> bytes:  # noqa: FBT001 - Django's signature
        """Seal the row just before it is written."""
        cast("AuthenticatedRow", model_instance).seal_row()
        return cast("bytes", super().pre_save(model_instance, add))


M = TypeVar("M", bound=models.Model)


class AuthenticatedQuerySet(models.QuerySet[M]):
    """A queryset that refuses `delete()` where the audit log records states of its rows."""

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the rows. Raises Unrecorded if the audit log records their state."""
        if cast("type[AuthenticatedRow]", self.model).RECORDED:
            raise Unrecorded(f"delete each {self.model.__name__} by itself, and record that it is gone")
        return super().delete()

    # As Django's own: Model.objects.delete() would delete all rows by mistake.
    delete.queryset_only = True  # type: ignore[attr-defined]  # Django's mark on a method


class AuthenticatedRow(Identified):
    """A row whose covered columns cannot be edited, nor the row inserted, by SQL alone.

    `MAC_LABEL` is a frozen string (a rename of the model must not change it) and `MAC_COVERS`
    the attribute paths that the MAC covers, dotted through foreign keys ("environment.uuid").
    The MAC is over canonical JSON: [label, deployment uuid, row uuid, {path: value}]. A column that
    a model got after rows were written goes into `MAC_COVERS_IF_SET`: it is covered where it holds
    something, so that older rows, which hold nothing there, stay genuine.

    If the audit log records each state of a row (`RECORDED`), it must record its end as well, or
    verification reports it as missing: an event holds `row_digest_entry(row, gone=True)` before `delete()`.
    """

    RECORDED: ClassVar[bool] = True
    # Set by `row_digest_entry`, on the object that is deleted then.
    told_gone = False

    MAC_LABEL: ClassVar[str]
    MAC_COVERS: ClassVar[tuple[str, ...]]
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ()

    row_mac = RowMacField(
        verbose_name="row MAC",
        help_text="Keyed checksum of the columns that decide about access. Written by Keeper, never shown.",
    )

    objects = models.Manager.from_queryset(AuthenticatedQuerySet)()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the row; a partial save that touches a covered column writes the MAC as well."""
        fields = kwargs.get("update_fields")
        if fields is not None and self._covered_columns().intersection(fields):
            kwargs["update_fields"] = {*fields, "row_mac"}
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the row. Raises Unrecorded if no event records its end."""
        if self.RECORDED and not self.told_gone:
            raise Unrecorded(f"record first that this {type(self).__name__} is gone")
        return super().delete(*args, **kwargs)

    def seal_row(self) -> None:
        """Compute and set the MAC of the row's present columns (for `update()` and `bulk_update`)."""
        self.row_mac = keyring().mac(Purpose.ROW_MAC, self._mac_message())

    def is_authentic(self) -> bool:
        """Return whether the covered columns are those that Keeper wrote.

        Raises KeyringUnavailable if the keys are not open.
        """
        try:
            message = self._mac_message()
        except (ObjectDoesNotExist, ValidationError, UnauthenticatableValue):
            # A foreign key was pointed at nothing, or a column holds what its field never stores.
            return False
        return keyring().verify(Purpose.ROW_MAC, message, bytes(self.row_mac))

    def _mac_message(self) -> bytes:
        values = {path: read(self) for path, read in _readers(type(self))}
        return row_message(type(self), self.uuid, values)

    @classmethod
    def _covered_columns(cls) -> set[str]:
        paths = (*cls.MAC_COVERS, *cls.MAC_COVERS_IF_SET)
        names = {path.partition(".")[0] for path in paths} | {"uuid"}
        return names | {field.attname for field in cls._meta.concrete_fields if field.name in names}


_NOTHING: Final = (None, "", b"")


def row_message(model: type[AuthenticatedRow], uuid: UUID | str, values: Mapping[str, Any]) -> bytes:
    """Return what the MAC of a model's row is over; `values` has each covered path.

    Nothing else writes it: instances, plain rows and new rows all come here. Raises UnauthenticatableValue.
    """
    covered = {path: values[path] for path in model.MAC_COVERS}
    for path in model.MAC_COVERS_IF_SET:
        if values[path] not in _NOTHING:
            covered[path] = values[path]
    for path in _times_and_bytes(model):
        if covered.get(path) is not None:
            covered[path] = _plain(covered[path])
    return mac_message(model.MAC_LABEL, uuid, covered)


def mac_message(label: str, uuid: UUID | str, covered: Mapping[str, object]) -> bytes:
    """Return what the MAC over some values of a row is over; `covered` is path → plain value.

    Raises UnauthenticatableValue if a value has no canonical form.
    """
    try:
        # The uuids become text on the way.
        return canonical_json([label, deployment_uuid(), uuid, covered])
    except BadDetails as error:
        raise UnauthenticatableValue(f"a column of {label} cannot be covered") from error


Row = TypeVar("Row", bound=AuthenticatedRow)


def verified_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the rows that prove themselves; report the others, which grant nothing."""
    good = []
    for row in rows:
        if row.is_authentic():
            good.append(row)
        else:
            record_integrity_violation(
                kind=row.MAC_LABEL, uuid=row.uuid, name=str(row.pk), reason="not written by Keeper"
            )
    return good


def record_integrity_violation(*, kind: str, uuid: UUID, name: str, reason: str) -> None:
    """Record that something stored was tampered with, at most once a minute for one row.

    The event is committed on its own; inside a transaction, which alone may hold the
    database's write lock, it joins that one. `name` and `reason` never hold a value.
    """
    key = f"audit_app.violation.{uuid}"
    if not shared_cache.add(key, 1, timeout=_REPORT_INTERVAL_SECONDS):
        return
    writer = record if connection.in_atomic_block else commit_record
    written = False
    try:
        writer(
            actor=actors.system(),
            action=Action.INTEGRITY_VIOLATION,
            stream=streams.SYSTEM,
            object=AuditObject(kind, uuid, name),
            outcome=Outcome.FAILED,
            details={"reason": reason},
        )
        written = True
    finally:
        if not written:
            shared_cache.delete(key)


def named_by_mac(model: type[AuthenticatedRow]) -> set[str]:
    """Return the rows that a model's MAC reads along, for a prefetch: a join passes over a lost one."""
    paths = (*model.MAC_COVERS, *model.MAC_COVERS_IF_SET)
    return {path.rpartition(".")[0].replace(".", "__") for path in paths if "." in path}


@cache
def _readers(model: type[AuthenticatedRow]) -> list[tuple[str, Callable[[models.Model], Any]]]:
    """Return what reads each covered path of an instance as it will come back from the database."""
    return [(path, _reader(model, path)) for path in (*model.MAC_COVERS, *model.MAC_COVERS_IF_SET)]


def _reader(model: type[models.Model], path: str) -> Callable[[models.Model], Any]:
    names, as_loaded = path.split("."), _field_at(model, path).to_python

    def read(row: models.Model) -> Any:
        value: Any = row
        for name in names:
            value = getattr(value, name)
            if value is None:
                return None
        return as_loaded(value)

    return read


def _field_at(model: type[models.Model], path: str) -> Any:
    """Return the field at the end of a path."""
    *owners, name = path.split(".")
    owner: Any = model
    for each in owners:
        owner = owner._meta.get_field(each).related_model
    return owner._meta.get_field(name)


@cache
def _times_and_bytes(model: type[AuthenticatedRow]) -> list[str]:
    """Return the covered paths whose values are no JSON yet."""
    paths = (*model.MAC_COVERS, *model.MAC_COVERS_IF_SET)
    return [
        path
        for path in paths
        if isinstance(_field_at(model, path), models.DateTimeField | models.BinaryField)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return utc_text(value)
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value
