"""JSON objects as values: for systems that store the members of an object, and not the text of it."""

import json
from decimal import Decimal
from typing import Any, Final

from secrets_app.errors import InvalidValue
from secrets_app.types.json_document import inspect_json
from sync_app.errors import ValueUnusable

Members = dict[str, Any]
_ROUNDED: Final = "a number in the object has more digits than the target keeps: make it a text"
# IEEE 754 doubles hold every integer up to this one.
_EXACT: Final = 2**53
_DIGITS: Final = 18


def parse_object(value: str) -> Members | None:
    """Return the members of a value that is one JSON object (RFC 8259, no repeated key); None for others."""
    if not value.lstrip(" \t\r\n").startswith("{"):
        return None
    try:
        inspect_json(value)
    except InvalidValue:
        return None
    members: Members = json.loads(value, parse_int=_integer)
    return members


def render_object(members: Members) -> str:
    """Return an object as Keeper stores it: its members in the order of their names.

    Raises ValueUnusable for a number that was rounded before it came here.
    """
    _refuse_rounded(members)
    return json.dumps(members, ensure_ascii=False, sort_keys=True)


def refuse_inexact_numbers(value: str) -> None:
    """Raise ValueUnusable if the target would round a number of this JSON text."""
    json.loads(value, parse_int=_exact, parse_float=_exact)


def objects_equal(one: Members, other: Members) -> bool:
    """Return whether two objects have the same members, in any order and with numbers in any form."""
    return _comparable(one) == _comparable(other)


def includes(whole: Members, part: Members) -> bool:
    """Return whether an object has all members of another one, with the same values."""
    return part.keys() <= whole.keys() and objects_equal({name: whole[name] for name in part}, part)


def _integer(text: str) -> float:
    """Return an integer; a huge one, which no target keeps exactly, without computing it."""
    return int(text) if len(text) <= _DIGITS else float(text)


def _exact(text: str) -> None:
    number = float(text)
    if abs(number) > _EXACT or Decimal(repr(number)) != Decimal(text):
        raise ValueUnusable(_ROUNDED)


def _refuse_rounded(part: object) -> None:
    if isinstance(part, dict):
        part = [*part.values()]
    if isinstance(part, list):
        for each in part:
            _refuse_rounded(each)
    elif isinstance(part, int | float) and not isinstance(part, bool) and abs(part) > _EXACT:
        raise ValueUnusable("a number in the object is larger than the target keeps exactly")


def _comparable(part: object) -> str:
    """Return a text that equal documents share; Python alone takes True for 1."""
    return json.dumps(_plain_numbers(part), sort_keys=True)


def _plain_numbers(part: object) -> object:
    if isinstance(part, dict):
        return {name: _plain_numbers(each) for name, each in part.items()}
    if isinstance(part, list):
        return [_plain_numbers(each) for each in part]
    if isinstance(part, float) and part.is_integer():
        return int(part)
    return part
