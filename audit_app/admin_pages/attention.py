"""Rows that need an operator: counted on the admin's index, and listed by a filter of their list."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest

PARAMETER: Final = "attention"


@dataclass(frozen=True, kw_only=True)
class Attention:
    """A condition of rows that an operator has to look at; `label` follows a count: "3 accounts locked"."""

    key: str
    label: str
    rows: Callable[[QuerySet[Any]], QuerySet[Any]]
    tone: Literal["bad", "warn", "info"] = "warn"


class AttentionFilter(SimpleListFilter):
    """Narrows a list to the rows of one entry of its page's `attention`."""

    title = "needs attention"
    parameter_name = PARAMETER

    def lookups(self, _request: HttpRequest, model_admin: "ModelAdmin[Any]") -> list[tuple[str, str]]:
        """Return the conditions of the page."""
        self._conditions = {each.key: each for each in attention_of(model_admin)}
        return [(each.key, each.label.capitalize()) for each in self._conditions.values()]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the chosen condition."""
        chosen = self._conditions.get(self.value() or "")
        return chosen.rows(queryset) if chosen else queryset


def attention_of(page: "ModelAdmin[Any]") -> Iterator[Attention]:
    """Yield what a page declares as its rows that need an operator."""
    yield from getattr(page, "attention", ())
