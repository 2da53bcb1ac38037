"""Narrows a list of secrets by what is asked for in a query, the same for the API and the pages."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q, QuerySet
from django.utils import timezone

from core.parsing import whole_number
from secrets_app.errors import InvalidInput
from secrets_app.interfaces import panel_filters
from secrets_app.models import Secret
from secrets_app.models.tags import has_tag
from secrets_app.types.registry import parse_secret_type
from secrets_app.values.names import validate_prefix, validate_tags

ORDERINGS: Final = {
    "name": "name",
    "created": "created_at",
    "updated": "updated_at",
    "expires": "expires_at",
    "rotation_due": "rotation_due_at",
    "id": "id",
}
DEFAULT_ORDERING: Final = "name"
_TRUE: Final = {"true": True, "1": True, "false": False, "0": False}
_MAX_ID: Final = 2**63 - 1
_MAX_SEARCH: Final = 200
_MAX_WORDS: Final = 10
_MAX_DAYS: Final = 36_500


def wants_deleted(parameters: Mapping[str, str]) -> bool:
    """Return whether the deleted secrets are asked for. Raises InvalidInput."""
    text = parameters.get("deleted") or "false"
    if text.lower() not in _TRUE:
        raise InvalidInput("deleted", "Give true or false.")
    return _TRUE[text.lower()]


def narrow(secrets: QuerySet[Secret], parameters: Mapping[str, str]) -> QuerySet[Secret]:
    """Apply every filter that is given and not empty.

    Raises InvalidInput naming the parameter whose value cannot be.
    """
    for name in filter_names():
        text = parameters.get(name, "")
        if text and name != "deleted":
            secrets = secrets.filter(FILTERS[name](text) if name in FILTERS else _of_panel(name, text))
    return secrets


def filter_names() -> tuple[str, ...]:
    """Return the names of all filters of a list, those that other apps add as well."""
    return (*FILTERS, *panel_filters(), "deleted")


def _of_panel(name: str, text: str) -> Q:
    added = panel_filters()[name]
    if text not in added.choices:
        raise InvalidInput(name, f"Choose one of {', '.join(filter(None, added.choices))}.")
    return added.condition(text)


def _search(text: str) -> Q:
    """Each word must occur in a field that viewers see: name, description, owner, tags."""
    if len(text) > _MAX_SEARCH or len(text.split()) > _MAX_WORDS:
        raise InvalidInput("q", f"Search with at most {_MAX_WORDS} words and {_MAX_SEARCH} characters.")
    condition = Q()
    for word in text.lower().split():
        condition &= Q(search_text__contains=word)
    return condition


def _environment(text: str) -> Q:
    pk = whole_number(text, largest=_MAX_ID)
    named = Q(environment__name=text)
    return named if pk is None else named | Q(environment_id=pk)


def _type(text: str) -> Q:
    try:
        return Q(secret_type=parse_secret_type(text))
    except InvalidInput as error:
        raise InvalidInput("type", error.reason) from error


def _tag(text: str) -> Q:
    try:
        (tag,) = validate_tags([text])
    except InvalidInput as error:
        raise InvalidInput("tag", error.reason) from error
    return has_tag(tag)


def _prefix(text: str) -> Q:
    prefix = validate_prefix(text.removesuffix("/"))
    return Q(name=prefix) | Q(name__gte=f"{prefix}/", name__lt=f"{prefix}0")


def _expiring(text: str) -> Q:
    """Those that expire within so many days, and those that have expired."""
    return Q(expires_at__lte=timezone.now() + timedelta(days=_days("expiring", text)))


def _rotation(text: str) -> Q:
    if text == "none":
        return Q(rotation_due_at__isnull=True)
    if text == "overdue":
        return Q(rotation_due_at__lte=timezone.now())
    if text == "scheduled":
        return Q(rotation_due_at__isnull=False)
    raise InvalidInput("rotation", "Choose one of overdue, scheduled, none.")


def _age(text: str) -> Q:
    """Those whose value is so many days old: `30-90` from 30 to less than 90, `365-` at least 365."""
    youngest, dash, oldest = text.partition("-")
    if not dash:
        raise InvalidInput("age", "Give a range of days such as 30-90, or 365- for at least 365.")
    now = timezone.now()
    condition = _written_until(now - timedelta(days=_days("age", youngest)))
    return condition & ~_written_until(now - timedelta(days=_days("age", oldest))) if oldest else condition


def _written_until(moment: datetime) -> Q:
    return Q(rotated_at__lte=moment) | Q(rotated_at=None, created_at__lte=moment)


def _days(parameter: str, text: str) -> int:
    days = whole_number(text, largest=_MAX_DAYS)
    if days is None:
        raise InvalidInput(parameter, f"Give a whole number of days from 0 to {_MAX_DAYS}.")
    return days


FILTERS: Final[Mapping[str, Callable[[str], Q]]] = {
    "q": _search,
    "environment": _environment,
    "type": _type,
    "tag": _tag,
    "owner": lambda text: Q(owner=text),
    "prefix": _prefix,
    "expiring": _expiring,
    "rotation": _rotation,
    "age": _age,
}
