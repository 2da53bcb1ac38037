"""All rules that a target can have, taken from the models, and a few combinations that cover each pair."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Final

from sync_app.models import Target
from sync_app.planning.draft_items import AdoptMode

Combination = Mapping[str, str]

# What is chosen of a target and is no rule of it.
NO_RULES: Final = frozenset({"backend"})


def rules() -> dict[str, list[str]]:
    """Return every column of a target that has choices, with all of them: a new one takes part automatically."""
    fields = {field.name: field.choices for field in Target._meta.get_fields() if hasattr(field, "choices")}
    return {
        name: [str(value) for value, _ in choices]
        for name, choices in sorted(fields.items())
        if choices and name not in NO_RULES
    }


def factors(variants: Sequence[str]) -> dict[str, list[str]]:
    """Return the rules, what an adoption does, who starts the passes, and the variants of a system."""
    return {
        **rules(),
        "adoption": [str(mode) for mode in AdoptMode],
        "automatic": ["yes", "no"],
        "variant": list(variants),
    }


def every(choices: Mapping[str, Sequence[str]]) -> list[Combination]:
    """Return all combinations."""
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def pairwise(choices: Mapping[str, Sequence[str]]) -> list[Combination]:
    """Return few combinations in which each two choices of different rules meet; the same ones each time."""
    left = {pair for combination in every(choices) for pair in _pairs(combination)}
    found = []
    while left:
        best = max(every(choices), key=lambda combination: len(left & _pairs(combination)))
        found.append(best)
        left -= _pairs(best)
    return found


def _pairs(combination: Combination) -> set[tuple[tuple[str, str], tuple[str, str]]]:
    return set(combinations(sorted(combination.items()), 2))
