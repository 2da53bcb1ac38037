"""What a search box of the admin finds, in words."""

from collections.abc import Sequence
from typing import Any, Final

from django.db import models
from django.db.models.constants import LOOKUP_SEP
from django.utils.text import capfirst

_HOW: Final = {"=": "{} (exact)", "^": "how {} begins"}


def search_words(model: type[models.Model], names: Sequence[str]) -> str:
    """Return the help text of a search box; empty where there is none."""
    words = [_HOW.get(name[0], "{}").format(_field_words(model, name.lstrip("=^@"))) for name in names]
    return capfirst(", ".join(words))


def _field_words(model: type[models.Model], path: str) -> str:
    """Return a field by its name for people; of another model with the name of the relation."""
    words: list[str] = []
    current: Any = model
    for part in path.split(LOOKUP_SEP):
        field = current._meta.get_field("id" if part == "pk" else part)
        words.append(str(field.verbose_name))
        current = field.related_model or current
    last = words.pop()
    return f"{last} of the {words[-1]}" if words else last
