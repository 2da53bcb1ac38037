"""The rules of a target that its managers choose, and what each may be."""

import re
from collections.abc import Mapping
from typing import Any, Final

from environments_app.authorization.rows import clean_fields
from environments_app.errors import InvalidField
from environments_app.names import validate_prefix
from secrets_app.errors import InvalidTag
from secrets_app.values.names import validate_tags
from sync_app.backends.registry import capabilities_of
from sync_app.domain.reconciliation import Direction
from sync_app.errors import BadDestination
from sync_app.models import Target
from sync_app.models.target import MAX_TAGS_TEXT
from sync_app.targets.destinations import backend_class

# What can be chosen when a target is made, and what also later: scope and tags stay, since what
# leaves them would look like deleted.
CHANGEABLE: Final = (
    "direction",
    "conflict",
    "deletion",
    "budget_number",
    "budget_percent",
    "interval_seconds",
    "automatic",
)
CHOSEN_ONCE: Final = ("scope", "only_tags")
_MIN_INTERVAL: Final = 60
_MAX_INTERVAL: Final = 30 * 24 * 3600
_MAX_BUDGET: Final = 100_000
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


def clean_name(name: str) -> str:
    """Return a target's name. Raises InvalidField."""
    if not _NAME.fullmatch(name):
        raise InvalidField("name", "Use 1 to 63 of a-z 0-9 . _ -, starting with a letter or digit.")
    return name


def apply_rules(target: Target, rules: Mapping[str, Any], *, allowed: tuple[str, ...]) -> list[str]:
    """Set rules on a target and return the names of those that differ. Raises InvalidField."""
    for name in sorted(rules.keys() - set(allowed)):
        raise InvalidField(name, "This is not a rule of a target, or it can't be changed.")
    given = dict(rules)
    if "scope" in given:
        given["scope"] = validate_prefix(given["scope"])
    if "only_tags" in given:
        try:
            text = ",".join(validate_tags(list(given["only_tags"])))
        except InvalidTag as error:
            raise InvalidField("only_tags", str(error)) from error
        if len(text) > MAX_TAGS_TEXT:
            raise InvalidField("only_tags", f"Use fewer tags: at most {MAX_TAGS_TEXT} characters in all.")
        given["only_tags"] = text
    changed = [name for name, value in given.items() if getattr(target, name) != value]
    for name in changed:
        setattr(target, name, given[name])
    clean_fields(target, changed)
    _check_bounds(target)
    if target.direction != Direction.PUSH and target.tags:
        raise InvalidField("only_tags", "Tags select what is delivered: choose push, or no tags.")
    if target.direction != Direction.PUSH and not capabilities_of(target.backend).reads_values:
        raise InvalidField("direction", "This system shows no values: choose push.")
    return changed


def rules_of_backend(target: Target) -> dict[str, str]:
    """Return those fields of the destination that are rules of its backend."""
    fields = [field for field in backend_class(target.backend).destination_fields if field.rule]
    return {field.name: target.destination.get(field.name, field.default) for field in fields}


def changed_backend_rules(target: Target, given: Mapping[str, str]) -> dict[str, str]:
    """Return those of the given rules of a target's backend that differ.

    Raises BadDestination for a field that is no such rule, and for one that is no choice of its.
    """
    fields = {field.name: field for field in backend_class(target.backend).destination_fields}
    for name, text in given.items():
        field = fields.get(name)
        if field is None or not field.rule:
            raise BadDestination("this changes only together with new credentials, or never", field=name)
        if text not in field.choices:
            raise BadDestination(f"choose one of {', '.join(field.choices)}", field=name)
    # A row that is older than the field has the default.
    kept = target.destination
    return {name: str(text) for name, text in given.items() if kept.get(name, fields[name].default) != text}


def _check_bounds(target: Target) -> None:
    if target.interval_seconds and not _MIN_INTERVAL <= target.interval_seconds <= _MAX_INTERVAL:
        raise InvalidField(
            "interval_seconds", f"Enter 0, or {_MIN_INTERVAL} to {_MAX_INTERVAL:,} seconds (30 days)."
        )
    if target.budget_number > _MAX_BUDGET:
        raise InvalidField("budget_number", f"Enter 0 to {_MAX_BUDGET:,}.")
    if target.budget_percent > 100:  # noqa: PLR2004  per cent
        raise InvalidField("budget_percent", "0 to 100.")
