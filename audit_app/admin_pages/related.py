"""What lies around an object in the admin: lists of the rows that refer to it."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst


@dataclass(frozen=True, kw_only=True)
class RelatedList:
    """A list in the admin, narrowed to the rows that refer to an object."""

    label: str
    url: str


def related_lists(site: AdminSite, request: HttpRequest, obj: models.Model) -> list[RelatedList]:
    """Return the lists of rows that refer to an object, by name; no statement is needed."""
    # Hidden ones as well: most relations have no name of their own.
    relations = [
        field
        for field in obj._meta.get_fields(include_hidden=True)
        if isinstance(field, models.ManyToOneRel)
        and field.field.model._meta.auto_created is False
        and _may_view(site, request, field)
    ]
    times = Counter(relation.related_model for relation in relations)
    lists = [_list_of(site, obj, relation, times[relation.related_model]) for relation in relations]
    return sorted(lists, key=lambda each: each.label)


def _may_view(site: AdminSite, request: HttpRequest, relation: Any) -> bool:
    model = relation.related_model
    return site.is_registered(model) and site.get_model_admin(model).has_view_permission(request)


def _list_of(site: AdminSite, obj: models.Model, relation: Any, times: int) -> RelatedList:
    meta, field = relation.related_model._meta, relation.field
    url = reverse(f"{site.name}:{meta.app_label}_{meta.model_name}_changelist")
    name = capfirst(str(meta.verbose_name_plural))
    label = f"{name} ({field.verbose_name})" if times > 1 else name
    key = getattr(obj, field.target_field.attname)
    return RelatedList(label=label, url=f"{url}?{field.name}__{field.target_field.name}__exact={key}")
