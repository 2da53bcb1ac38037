"""Keeps a secret's tags in one text column that a filter can search."""

from collections.abc import Sequence
from typing import Any

from django.db import models

SEPARATOR = ","


class TagsField(models.TextField):  # type: ignore[type-arg]  # the stub's two parameters are irrelevant here
    """A list of lower-case tags, stored as `,first,second,` so that `,first,` finds a whole tag.

    The tags come validated (see `names.validate_tags`): none holds a separator.
    """

    def from_db_value(self, value: str | None, _expression: object, _connection: object) -> list[str]:
        return self.to_python(value)

    def to_python(self, value: str | Sequence[str] | None) -> list[str]:
        if value is None:
            return []
        if isinstance(value, str):
            return [tag for tag in value.split(SEPARATOR) if tag]
        return list(value)

    def get_prep_value(self, value: str | Sequence[str] | None) -> str:
        return tags_text(self.to_python(value))

    def value_to_string(self, obj: models.Model) -> str:
        return self.get_prep_value(self.value_from_object(obj))

    def formfield(self, **_options: Any) -> None:
        """Offer no form field of its own: forms ask for tags as text and validate them."""


def tags_text(tags: Sequence[str]) -> str:
    """Return the text that stores a list of tags."""
    return SEPARATOR + SEPARATOR.join(tags) + SEPARATOR if tags else ""


def has_tag(tag: str) -> models.Q:
    """Return the condition that a secret carries a tag."""
    # A pattern is not prepared by the field: the separators are written here.
    return models.Q(tags__contains=f"{SEPARATOR}{tag}{SEPARATOR}")
