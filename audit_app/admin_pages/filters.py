"""Filters of the admin's lists: columns that addresses may name, periods, outcomes, rows to attend to.

Rows that need an operator are counted on the admin's index, and the filter of their list shows exactly
them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models import Q, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest
from django.utils import timezone

from audit_app.events.actions import Outcome
from audit_app.queries.search import about, goes_by_index, matching, within

PERIODS: Final = {
    "24h": ("24 hours", timedelta(hours=24)),
    "7d": ("7 days", timedelta(days=7)),
    "30d": ("30 days", timedelta(days=30)),
}


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


class PeriodFilter(SimpleListFilter):
    """Filters rows by how long ago they were made; a subclass names the column of that time."""

    title = "period"
    parameter_name = "period"
    column = "created_at"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(name, f"Last {words}") for name, (words, _) in PERIODS.items()]

    def queryset(self, _request: HttpRequest, queryset: Any) -> Any:
        chosen = PERIODS.get(self.value() or "")
        return queryset.filter(self.since(timezone.now() - chosen[1])) if chosen else queryset

    def since(self, moment: datetime) -> Q:
        return Q(**{f"{self.column}__gte": moment})


def period_of(name: str) -> type[PeriodFilter]:
    """Return the filter of periods by a column."""
    return type("PeriodFilter", (PeriodFilter,), {"column": name})


class EventPeriodFilter(PeriodFilter):
    """Filters events by time, also by one day or hour (`2026-11-28`, `2026-11-28T06`, in UTC).

    Few events are found by their ids, which databases plan better.
    """

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        """Return the periods, with the chosen day or hour."""
        periods = [*super().lookups(request, model_admin)]
        chosen = request.GET.get(self.parameter_name, "")
        return [*periods, (chosen, chosen.replace("T", " "))] if _slot_of(chosen) else periods

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the events of the chosen period, day or hour."""
        if slot := _slot_of(self.value() or ""):
            return queryset.filter(within(*slot, ""))
        return super().queryset(request, queryset)

    def since(self, moment: datetime) -> Q:
        return within(moment, None, "")


def _slot_of(text: str) -> tuple[datetime, datetime] | None:
    """Return the begin and end of a day or an hour by its name; None for any other text."""
    for form, length in (("%Y-%m-%d", timedelta(days=1)), ("%Y-%m-%dT%H", timedelta(hours=1))):
        try:
            begin = datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        # Databases have no time before the first year.
        return (begin, begin + length) if begin.year > 1 else None
    return None


class ObjectFilter(SimpleListFilter):
    """Filters events by an object, whose page leads here; also those that name it among many."""

    title = "object"
    parameter_name = "object_uuid"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        """Return the chosen object: others are chosen on their pages."""
        chosen = self.value()
        return [(chosen, "one object")] if chosen else []

    def queryset(self, _request: HttpRequest, queryset: Any) -> Any:
        """Return the events about the chosen object; none where the address names no UUID."""
        chosen = self.value()
        if not chosen:
            return queryset
        try:
            return queryset.filter(about(UUID(chosen)))
        except ValueError:
            return queryset.none()


class OutcomeFilter(SimpleListFilter):
    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(outcome.value, outcome.value) for outcome in Outcome]

    def queryset(self, _request: HttpRequest, queryset: Any) -> Any:
        chosen = self.value()
        if chosen not in set(Outcome):
            return queryset
        return matching(queryset, by_index=goes_by_index(outcome=chosen), outcome=chosen)


PARAMETER: Final = "attention"


@dataclass(frozen=True, kw_only=True)
class Attention:
    """A condition of rows that an operator has to look at; `label` follows a count: "3 sign-ins locked"."""

    key: str
    label: str
    rows: Callable[[QuerySet[Any]], QuerySet[Any]]
    tone: Literal["bad", "warn", "info"] = "warn"

    def words(self, count: int) -> str:
        """Return the label as it follows a count: the noun is its first word in the plural."""
        return self.label if count != 1 else singular(self.label)


def singular(label: str) -> str:
    """Return a label with its first plural in the singular: "access request open"."""
    words = label.split(" ")
    for place, word in enumerate(words):
        if word.endswith("ies"):
            words[place] = f"{word[:-3]}y"
        elif word.endswith("s") and not word.endswith("ss"):
            words[place] = word[:-1]
        else:
            continue
        break
    return " ".join(words)


class AttentionFilter(SimpleListFilter):
    title = "needs attention"
    parameter_name = PARAMETER

    def lookups(self, _request: HttpRequest, model_admin: "ModelAdmin[Any]") -> list[tuple[str, str]]:
        self._conditions = {condition.key: condition for condition in attention_of(model_admin)}
        return [(condition.key, condition.label.capitalize()) for condition in self._conditions.values()]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self._conditions.get(self.value() or "")
        return chosen.rows(queryset) if chosen else queryset


def attention_of(page: "ModelAdmin[Any]") -> Iterator[Attention]:
    """Yield what a page declares as its rows that need an operator."""
    yield from getattr(page, "attention", ())
