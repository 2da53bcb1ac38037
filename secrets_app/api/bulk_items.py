"""Validates the items of a bulk call: the usual ones at once, any other list by the serializer.

A serializer for each of a thousand items takes a good part of the call. Items that are not plainly valid
are left to it, for its error message; a test compares the two.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from secrets_app.api.serializers import MAX_ID, NewSecretItem
from secrets_app.errors import InvalidValue
from secrets_app.secret_types.registry import parse_secret_type

_TEXTS: Final = frozenset({"name", "value"})
_NEEDED: Final = _TEXTS | {"secret_type"}
_KNOWN: Final = _NEEDED | {"environment_id"}


def valid_items(items: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what NewSecretItem makes of these. Raises ValidationError as it does."""
    usual = [_usual(item) for item in items]
    if all(item is not None for item in usual):
        return [item for item in usual if item is not None]
    serializer = NewSecretItem(data=items, many=True)
    serializer.is_valid(raise_exception=True)
    valid: list[dict[str, Any]] = serializer.validated_data
    return valid


def _usual(item: Any) -> dict[str, Any] | None:
    """Return the valid fields of an item that has name, type and value, and perhaps its environment."""
    if not (isinstance(item, Mapping) and item.keys() >= _NEEDED and item.keys() <= _KNOWN):
        return None
    fields = dict(item)
    if not all(type(fields[name]) is str for name in _TEXTS):
        return None
    place = fields.get("environment_id", 1)
    if type(place) is not int or not 1 <= place <= MAX_ID:
        return None
    try:
        fields["secret_type"] = parse_secret_type(fields["secret_type"])
    except InvalidValue:
        return None
    return fields
