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
    """Narrows a list to the rows of one entry of its page's `attention`."""

    title = "needs attention"
    parameter_name = PARAMETER

    def lookups(self, _request: HttpRequest, model_admin: "ModelAdmin[Any]") -> list[tuple[str, str]]:
        self._conditions = {each.key: each for each in attention_of(model_admin)}
        return [(each.key, each.label.capitalize()) for each in self._conditions.values()]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self._conditions.get(self.value() or "")
        return chosen.rows(queryset) if chosen else queryset


def attention_of(page: "ModelAdmin[Any]") -> Iterator[Attention]:
    """Yield what a page declares as its rows that need an operator."""
    yield from getattr(page, "attention", ())
