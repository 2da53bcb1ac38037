"""The sections of a page in the admin: what an object is, its times, and its identifiers."""

from collections.abc import Sequence
from typing import Any, Final

from django.db import models

# Columns that only support and scripts need, beside those that are UUIDs.
_IDENTIFIERS: Final = frozenset(
    {"id", "digest", "epoch", "key_id", "lease_owner", "lease_until", "public_id", "revision", "scope"}
)


def sections_of_columns(
    model: type[models.Model], names: Sequence[Any]
) -> list[tuple[str | None, dict[str, Any]]]:
    """Return fieldsets of columns that are only shown: first what the object is, then times, identifiers."""
    groups: dict[str | None, list[Any]] = {None: [], "Times": [], "Identifiers": []}
    for name in names:
        groups[_section(model, name)].append(name)
    return [(heading, _options(heading, fields)) for heading, fields in groups.items() if fields]


def sections_of_form(
    names: Sequence[Any], sections: Sequence[tuple[str, str]]
) -> list[tuple[str | None, dict[str, Any]]]:
    """Return the fieldsets of a form: fields without a section first, then each section that has some."""
    placed = {name for _, fields in sections for name in fields.split()}
    groups: list[tuple[str | None, list[Any]]] = [(None, [name for name in names if name not in placed])]
    groups += [(heading, [name for name in fields.split() if name in names]) for heading, fields in sections]
    return [(heading or None, _options(heading, fields)) for heading, fields in groups if fields]


def _section(model: type[models.Model], name: Any) -> str | None:
    field = next((each for each in model._meta.concrete_fields if each.name == name), None)
    if name in _IDENTIFIERS or isinstance(field, models.UUIDField):
        return "Identifiers"
    return "Times" if isinstance(field, models.DateTimeField) else None


def _options(heading: str | None, fields: list[Any]) -> dict[str, Any]:
    return {"fields": fields, "classes": ["collapse"] if heading == "Identifiers" else []}
