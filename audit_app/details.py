"""Writes what an event tells besides, in the one form that is stored and hashed."""

from collections.abc import Mapping
from typing import Final

from audit_app.canonical import Json, canonical_json
from audit_app.errors import BadDetails

# What most details hold, and what needs no closer look.
_PLAIN: Final = frozenset({str, int, bool, type(None)})


def details_text(details: Mapping[str, Json] | None) -> str:
    """Return the text that is stored of details. Raises BadDetails if they have no canonical form."""
    if not details:
        return "{}"
    value = dict(details)
    _refuse_foreign(value)
    return canonical_json(value).decode()


def _refuse_foreign(value: object) -> None:
    """Refuse what would not come back from JSON as it went in; floats differ by platform."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise BadDetails("the keys of details are text")
            if type(item) not in _PLAIN:
                _refuse_foreign(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_foreign(item)
    elif value is not None and not isinstance(value, str | int):
        raise BadDetails(f"details hold JSON without floats, not {type(value).__name__}")
