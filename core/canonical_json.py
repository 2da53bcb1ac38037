"""The one byte form of structured data: JSON, keys sorted, UTF-8, no spaces."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import orjson

from core.errors import BadDetails

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json] | None"


def canonical_json(value: object) -> bytes:
    """Return the canonical bytes of JSON data.

    Raises BadDetails if it holds what JSON in UTF-8 cannot: other types, integers beyond 64
    bits, lone surrogates. The message does not repeat it.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise BadDetails("a value has no canonical JSON form") from error


def parsed_details(stored: object) -> dict[str, Any]:
    """Return an event's details; empty if they were edited to be no JSON object.

    Readers continue past such an event; the chain shows that it was edited.
    """
    try:
        details = json.loads(stored) if isinstance(stored, str) else None
    except (ValueError, RecursionError):
        return {}
    return details if isinstance(details, dict) else {}


def utc_text(moment: datetime) -> str:
    """Return an aware time in UTC with its microseconds, `2026-11-24T16:36:00.000000+00:00`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


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
