"""How lists of the admin show a column: states and yes or no as icon and word, times in ISO 8601."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.template import engines
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from audit_app.events.action_labels import action_name

EMPTY: Final = "-"
_STATES: Final = frozenset({"state", "outcome", "step"})
_LONGEST: Final = 60
_SHORT: Final = 16


class Column:
    """A column of a list, as Django takes callables in `list_display`."""

    def __init__(self, field: "models.Field[Any, Any]", show: Callable[[Any], Any]) -> None:
        self.__name__ = field.name
        self.short_description = field.verbose_name
        self.admin_order_field = field.name
        self.name, self._show = field.name, show

    def __call__(self, row: Any) -> Any:
        return self._show(self.value(row))

    def value(self, row: Any) -> Any:
        return getattr(row, self.name)


def shown(model: type[models.Model], name: Any) -> Any:
    """Return an entry of `list_display` in the form for its kind of column; others stay as they are."""
    if not isinstance(name, str):
        return name
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return name
    if not isinstance(field, models.Field):
        return name
    show = _how(field)
    return Column(field, show) if show else name


def plain(value: Any) -> str:
    """Return a value of a column as text, for a file."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return str(value)


def state(name: str, word: str = "") -> SafeString:
    """Return a state as icon, word and color, as Keeper's pages show it."""
    return SafeString(_state_template().render({"name": name, "word": word}))


def yes_no(value: object) -> SafeString:
    """Return yes or no; NULL is a no of columns that are unique while they are true."""
    return state("reads" if value else "reads_not", "yes" if value else "no")


def time(moment: datetime | None) -> SafeString | str:
    """Return a time to the minute, with the exact one on hover."""
    if moment is None:
        return EMPTY
    utc = moment.astimezone(UTC)
    exact, short = f"{utc:%Y-%m-%d %H:%M:%S} UTC", f"{utc:%Y-%m-%d %H:%M}Z"
    return format_html('<time datetime="{}" title="{}">{}</time>', plain(moment), exact, short)


def _how(field: "models.Field[Any, Any]") -> Callable[[Any], Any] | None:
    if isinstance(field, models.DateTimeField):
        return time
    if isinstance(field, models.BooleanField):
        return yes_no
    if field.name == "action" and isinstance(field, models.CharField):
        return action_name
    if field.name in _STATES:
        return lambda value: state(value) if value else EMPTY
    if isinstance(field, models.CharField | models.TextField) and not field.choices:
        return lambda value: _short(value) if value else EMPTY
    return None


def _short(text: str) -> SafeString | str:
    """Return a text that is cut at _LONGEST, and that the list may break anywhere unless it is short."""
    if len(text) <= _SHORT:
        return text
    whole = text if len(text) > _LONGEST else ""
    return format_html('<span class="text" title="{}">{}</span>', whole, Truncator(text).chars(_LONGEST))


@cache
def _state_template() -> Any:
    django: Any = engines["django"]
    return django.from_string("{% load keeper_ui %}{% state name word %}")
