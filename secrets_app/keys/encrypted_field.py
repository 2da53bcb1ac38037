"""A column that holds envelopes and gives out nothing else: `EncryptedField` and `Sealed`."""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self, cast, overload
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Case, Col, Expression, F, OrderBy, Value
from django.db.models.lookups import Exact, IsNull

from audit_app.integrity.row_authentication import record_integrity_violation
from audit_app.recording.drafts import Receipt
from secrets_app.envelope import Context, PlainKey, check, data_key_id, open_envelope, seal
from secrets_app.errors import (
    EnvelopeError,
    GuardedValue,
    KeyRefused,
    NotCommitted,
    PlaintextRefused,
    WrongContext,
)
from secrets_app.keys import fingerprints, legacy_fernet
from secrets_app.keys.data_keys import plain_key


class Sealed:
    """An envelope and the place it belongs to; opens only with the receipt of a committed event.

    An instance read through a model is bound to its row; one from `values()` is not, until
    `bound` gives it a context.
    """

    __slots__ = ("_context", "envelope")

    def __init__(self, envelope: bytes, context: Context | Callable[[], Context] | None = None) -> None:
        self.envelope = envelope
        self._context = context

    @classmethod
    def of(cls, plaintext: bytes, *, data_key: PlainKey, context: Context) -> Self:
        """Seal a value for a place; raises InvalidPlaintext if it is empty or too large."""
        return cls(seal(plaintext, data_key=data_key, context=context), context)

    @property
    def context(self) -> Context | None:
        return self._context() if callable(self._context) else self._context

    @property
    def data_key_id(self) -> UUID | None:
        """The id of the data key, None of the older scheme; raises Malformed or UnknownFormat if neither."""
        if legacy_fernet.is_legacy(self.envelope):
            return None
        return data_key_id(self.envelope)

    def with_context(self, context: Context | Callable[[], Context]) -> "Sealed":
        """Return the same envelope bound to a context (or to a function that returns it on opening)."""
        return Sealed(self.envelope, context)

    def open(self, receipt: Receipt) -> bytes:
        """Return the value.

        Raises NotCommitted if the receipt is not that of a committed event that covers the
        row, GuardedValue if the row is guarded and the event released nothing, an EnvelopeError or
        KeyRefused (recorded as an integrity violation) if what is stored was tampered with, and
        KeyUnavailable if its key cannot be used now.
        """
        context = self._require_context()
        require_proof(receipt, context.row)
        require_release(receipt, guarded=context.guarded)
        try:
            return self._plaintext(context)
        except (EnvelopeError, KeyRefused) as error:
            record_integrity_violation(
                kind=context.label, uuid=context.row, name=context.label, reason=str(error)
            )
            raise

    def open_by(self, receipt: Receipt, key: PlainKey) -> bytes:
        """Return the value by a data key that is at hand, without a statement or a call.

        Raises NotCommitted as `open` does, and an EnvelopeError that is not recorded: `open` records it.
        """
        context = self._require_context()
        require_proof(receipt, context.row)
        require_release(receipt, guarded=context.guarded)
        return open_envelope(self.envelope, data_key_for=lambda _: key, context=context)

    def matches_fingerprint(self, fingerprint: bytes) -> bool:
        """Return whether this opens in its place and holds the value of a fingerprint.

        For the integrity checks: it gives nothing out, and so needs no receipt. Raises
        KeyUnavailable if the key cannot be used now.
        """
        try:
            return fingerprints.matches(self._plaintext(self._require_context()), fingerprint)
        except (EnvelopeError, KeyRefused):
            return False

    def can_decrypt(self) -> bool:
        """Return whether this opens in its place; for the integrity checks, as `matches_fingerprint`."""
        try:
            return bool(self._plaintext(self._require_context()))
        except (EnvelopeError, KeyRefused):
            return False

    def _require_context(self) -> Context:
        context = self.context
        if context is None:
            raise WrongContext("the envelope is not bound to a row")
        return context

    def _plaintext(self, context: Context) -> bytes:
        if legacy_fernet.is_legacy(self.envelope):
            return legacy_fernet.open_token(self.envelope, context)
        return open_envelope(
            self.envelope,
            data_key_for=lambda key_id: plain_key(key_id, environment=context.environment),
            context=context,
        )

    def __eq__(self, other: object) -> bool:
        return self.envelope == other.envelope if isinstance(other, Sealed) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.envelope)

    def __repr__(self) -> str:
        return f"<Sealed, {len(self.envelope)} bytes>"


class _SealedAttribute:
    """Gives the column's `Sealed`, bound to the row, and accepts nothing else."""

    def __init__(self, field: "EncryptedField") -> None:
        self.field = field

    @overload
    def __get__(self, instance: None, owner: type[models.Model]) -> "_SealedAttribute": ...
    @overload
    def __get__(self, instance: models.Model, owner: type[models.Model]) -> Sealed | None: ...
    def __get__(
        self, instance: models.Model | None, owner: type[models.Model]
    ) -> "Sealed | _SealedAttribute | None":
        if instance is None:
            return self
        name = self.field.attname
        if name not in instance.__dict__:
            # The column was deferred; refreshing sets the attribute.
            instance.refresh_from_db(fields=[name])
        stored = cast("Sealed | None", instance.__dict__[name])
        return None if stored is None else stored.with_context(lambda: self.field.context_of(instance))

    def __set__(self, instance: models.Model, value: object) -> None:
        instance.__dict__[self.field.attname] = self.field.require_sealed(value)


class SealedCol(Col):
    """A sealed column in a query: selected, never sorted by."""

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> Any:
        """Compile the column; raises PlaintextRefused if the query is ordered by it."""
        if any(_ordered_name(item) == self.target.name for item in compiler.query.order_by):
            raise PlaintextRefused(f"{self.target.name} is sealed: its order means nothing")
        return super().as_sql(compiler, connection)


if TYPE_CHECKING:
    _BinaryField = models.BinaryField[Sealed, Sealed]
else:
    # Generic for the type checker alone.
    _BinaryField = models.BinaryField


class EncryptedField(_BinaryField):
    """Stores an envelope. The attribute gives a `Sealed` bound to its row and accepts only one.

    `label` is the frozen label of what is stored, and `context` the name of the model's method
    that returns the row's `Context` under that label. Services seal before they open a
    transaction, since sealing may call KMS. Filtering (but for null and for the
    envelope itself), ordering and `update()`
    with anything else raise PlaintextRefused; `bulk_create`, `bulk_update`, `dumpdata` and
    `loaddata` (both sealed) work. `values()` gives `Sealed` that are not bound.
    """

    def __init__(self, *args: Any, label: str, context: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label = label
        self.context = context

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "label": self.label, "context": self.context}

    def contribute_to_class(self, cls: type[models.Model], name: str, private_only: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's signature
        super().contribute_to_class(cls, name, private_only)
        setattr(cls, self.attname, _SealedAttribute(self))

    def context_of(self, instance: models.Model) -> Context:
        """Return the context of a row; raises WrongContext if the model states another label."""
        context = cast("Context", getattr(instance, self.context)())
        if context.label != self.label:
            raise WrongContext(f"{self.name} is labelled {self.label!r}, its context {context.label!r}")
        return context

    def require_sealed(self, value: object) -> Sealed | None:
        """Return a `Sealed` as it is; raises PlaintextRefused for anything but that or None."""
        if value is None or isinstance(value, Sealed):
            return value
        raise PlaintextRefused(f"{self.name} is sealed: it takes a Sealed, not {type(value).__name__}")

    # --- To the database --------------------------------------------------------------------

    def pre_save(self, model_instance: models.Model, add: bool) -> Sealed | None:  # noqa: ARG002, FBT001 - Django's signature
        """Return what is stored; raises WrongContext for what was sealed for another row."""
        stored = cast("Sealed | None", model_instance.__dict__[self.attname])
        context = None if stored is None else stored.context
        if context is not None and context != self.context_of(model_instance):
            raise WrongContext(f"{self.name} was sealed for another row")
        return stored

    def get_default(self) -> Sealed | None:
        return None

    def get_prep_value(self, value: object) -> bytes | None:
        sealed = self.require_sealed(value)
        return None if sealed is None else sealed.envelope

    def get_db_prep_value(
        self,
        value: Any,
        connection: BaseDatabaseWrapper,
        prepared: bool = False,  # noqa: FBT001, FBT002 - Django's signature
    ) -> Any:
        envelope = value if prepared else self.get_prep_value(value)
        return None if envelope is None else super().get_db_prep_value(envelope, connection, prepared=True)

    def get_placeholder(self, value: Any, compiler: Any, connection: BaseDatabaseWrapper) -> str:
        """Refuse expressions that could copy something else into the column."""
        if hasattr(value, "resolve_expression") and not _sets_sealed_only(value):
            raise PlaintextRefused(f"{self.name} is sealed: it takes a Sealed, not an expression")
        return super().get_placeholder(value, compiler, connection)

    # --- From the database ------------------------------------------------------------------

    def from_db_value(
        self,
        value: object,
        expression: Expression,  # noqa: ARG002 - Django's signature
        connection: BaseDatabaseWrapper,  # noqa: ARG002 - Django's signature
    ) -> Sealed | None:
        """Wrap whatever is stored; what is no envelope is found when it is opened, not in a list."""
        if value is None:
            return None
        if isinstance(value, bytes | bytearray | memoryview):
            return Sealed(bytes(value))
        # SQLite returns the stored type: text or a number, if the column was edited.
        return Sealed(str(value).encode("utf-8", "surrogateescape"))

    def get_col(self, alias: str | None, output_field: "models.Field[Any, Any] | None" = None) -> Col:
        return SealedCol(cast("str", alias), self, output_field or self)

    @property
    def cached_col(self) -> Col:
        return SealedCol(self.model._meta.db_table, self)

    def get_lookup(self, lookup_name: str) -> Any:
        """Refuse every lookup but `isnull` and `envelope`: the row that still holds this `Sealed`."""
        if lookup_name == "envelope":
            return Exact
        if lookup_name != "isnull":
            raise PlaintextRefused(f"{self.name} is sealed: it cannot be searched")
        return IsNull

    def get_transform(self, lookup_name: str) -> Any:  # noqa: ARG002 - every one is
        raise PlaintextRefused(f"{self.name} is sealed: it cannot be computed with")

    # --- Fixtures and forms -----------------------------------------------------------------

    def value_to_string(self, obj: models.Model) -> str:
        """Return the envelope in base64, sealed as it is stored."""
        stored = cast("Sealed | None", obj.__dict__[self.attname])
        return b64encode(stored.envelope).decode("ascii") if stored is not None else ""

    def to_python(self, value: Any) -> Sealed | None:
        """Return the `Sealed` of a fixture's base64; raises ValidationError for anything else."""
        if value is None or isinstance(value, Sealed):
            return value
        try:
            envelope = b64decode(value.encode("ascii"), validate=True)
            if not legacy_fernet.is_legacy(envelope):
                check(envelope)
        except (AttributeError, UnicodeEncodeError, binascii.Error, EnvelopeError) as error:
            raise ValidationError(f"{self.name} takes an envelope in base64") from error
        return Sealed(envelope)

    def formfield(self, **kwargs: Any) -> None:
        """Be no part of any form."""


def require_proof(receipt: object, row: UUID) -> None:
    """Raise NotCommitted unless this is a receipt, not merely something shaped like one."""
    require_proofs(receipt, (row.bytes,))


def require_proofs(receipt: object, rows: Iterable[bytes]) -> None:
    """Raise NotCommitted as `require_proof` does, for many rows by the bytes of their uuids."""
    if not isinstance(receipt, Receipt) or not receipt.committed or not receipt.covers_all(rows):
        raise NotCommitted("no committed event covers the opening of this value")


def require_release(receipt: Receipt, *, guarded: bool) -> None:
    """Raise GuardedValue for a guarded value, unless the event was recorded for a released read."""
    if guarded and not receipt.released:
        raise GuardedValue


def _ordered_name(item: object) -> str:
    """Return the last name of a path that a query is ordered by, "" for what names none."""
    if isinstance(item, OrderBy):
        item = item.expression
    if isinstance(item, F):
        item = str(getattr(item, "name", ""))
    return item.lstrip("-+").rpartition("__")[2] if isinstance(item, str) else ""


def _sets_sealed_only(value: object) -> bool:
    """Return whether an expression is what `bulk_update` makes of `Sealed` values."""
    if not isinstance(value, Case):
        return False
    results = [case.result for case in value.cases] + [value.default]
    return all(isinstance(result, Value) and isinstance(result.value, Sealed | None) for result in results)
