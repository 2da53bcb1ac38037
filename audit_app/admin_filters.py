"""Which columns the addresses of the admin's lists may filter by."""

from typing import Any

from django.contrib.admin import ModelAdmin
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.constants import LOOKUP_SEP


def names_hidden(shown: "ModelAdmin[Any]", lookup: str) -> bool:
    """Return whether a lookup passes through a column that is never shown, here or in a related model.

    Results of `?password__regex=` would reveal a hash letter by letter.
    """
    model = shown.model
    for part in lookup.split(LOOKUP_SEP):
        try:
            field = model._meta.pk if part == "pk" else model._meta.get_field(part)
        except FieldDoesNotExist:
            # From here on the parts name the comparison.
            return False
        if isinstance(field, models.BinaryField) or part in _hidden(shown, model):
            return True
        if field is None or field.related_model is None:
            return False
        model = field.related_model
    return False


def _hidden(shown: "ModelAdmin[Any]", model: type[models.Model]) -> frozenset[str]:
    page = shown.admin_site.get_model_admin(model) if shown.admin_site.is_registered(model) else None
    return getattr(page, "hidden", frozenset())
