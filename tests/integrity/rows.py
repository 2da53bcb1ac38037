"""Makes a stored row of any authenticated model, with its parents."""

from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

from django.apps import apps
from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from secrets_app.keys.encrypted_field import EncryptedField, Sealed

# What constraints of the tables demand.
_GIVEN: Final[dict[str, dict[str, Any]]] = {
    "Membership": {"group": None},
    "SamlGroupMapping": {"role": "reader"},
}


def authenticated() -> list[type[AuthenticatedRow]]:
    """Return the product's models whose rows carry a MAC, by their labels."""
    found = (model for model in apps.get_models() if issubclass(model, AuthenticatedRow))
    return sorted((model for model in found if model._meta.app_label != "audit_app_tests"), key=_label)


def uncovered(model: type[AuthenticatedRow]) -> set[str]:
    """Return the columns that the MAC of a model's rows leaves out; a foreign key is covered by its end."""
    paths = {path.partition(".")[0] for path in (*model.MAC_COVERS, *model.MAC_COVERS_IF_SET)}
    own = {"id", "uuid", "row_mac"}
    return {
        str(field.attname)
        for field in model._meta.concrete_fields
        if not {field.name, field.attname} & (paths | own)
    }


def _label(model: type[models.Model]) -> str:
    return model._meta.label


def make_row(model: type[models.Model]) -> Any:
    """Store a row with a value in each column, whatever it means; a foreign key gets a row of its own."""
    row: Any = model(**{**dict(_values(model)), **_GIVEN.get(model.__name__, {})})
    for field in model._meta.concrete_fields:
        if isinstance(field, EncryptedField):
            setattr(row, field.attname, Sealed(b"sealed", field.context_of(row)))
    row.save(force_insert=True)
    return row


def _values(model: type[models.Model]) -> Iterator[tuple[str, Any]]:
    for field in model._meta.concrete_fields:
        if field.primary_key or isinstance(field, EncryptedField) or field.name == "row_mac":
            continue
        if isinstance(field, models.ForeignKey):
            if field.related_model is not model:
                yield field.name, make_row(field.related_model)
        else:
            yield field.attname, _value(field)


def _value(field: Any) -> Any:
    kind = field.get_internal_type()
    if kind in {"CharField", "TextField", "EmailField"}:
        return ["tag"] if type(field).__name__ == "TagsField" else uuid4().hex[: field.max_length or 32]
    values = {
        "UUIDField": uuid4(),
        "DateTimeField": timezone.now(),
        "JSONField": ["127.0.0.0/8"],
        "BooleanField": True,
        "BinaryField": uuid4().bytes,
    }
    return values.get(kind, 1)
