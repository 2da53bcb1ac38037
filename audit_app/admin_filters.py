"""Which columns the addresses of the admin's lists may filter by, and the filter of outcomes."""

from collections.abc import Sequence
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest

from audit_app.events.actions import Outcome
from audit_app.events.actors import ActorKind
from audit_app.queries.search import goes_by_index, matching


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


class ActorKindFilter(SimpleListFilter):
    """Filters events by the kind of their actor; the usual filter reads all events to list the kinds."""

    title = "actor kind"
    parameter_name = "actor_kind"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """Return the kinds of actors."""
        return [(kind.value, kind.value) for kind in ActorKind]

    def queryset(self, _request: HttpRequest, queryset: Any) -> Any:
        """Return the events of actors of the chosen kind."""
        chosen = self.value()
        return queryset.filter(actor_kind=chosen) if chosen in set(ActorKind) else queryset


class OutcomeFilter(SimpleListFilter):
    """Filters events by their outcome; rare ones are found by the search table."""

    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """Return the outcomes."""
        return [(outcome.value, outcome.value) for outcome in Outcome]

    def queryset(self, _request: HttpRequest, queryset: Any) -> Any:
        """Return the events of the chosen outcome."""
        chosen = self.value()
        if chosen not in set(Outcome):
            return queryset
        return matching(queryset, by_index=goes_by_index(outcome=chosen), outcome=chosen)
