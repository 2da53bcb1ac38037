"""Reads JSON files: an object of name → value, or an array of objects as the API takes them.

Each part is the original text of the file: a number or a nested object is imported as it was written. A
parser would write 1.10 as 1.1.
"""

import json
import re
from collections.abc import Iterator
from typing import Final, cast

from django.utils.dateparse import parse_datetime

from secrets_app.errors import InvalidInput
from secrets_app.importing.formats.entries import Entry, unreadable
from secrets_app.types.json_document import check_depth
from secrets_app.types.registry import SecretType, parse_secret_type
from secrets_app.values.metadata import Metadata

_BLANKS: Final = re.compile(r"[ \t\r\n]*")
# Where values end is all that is asked: no number is computed, however long.
_DECODER: Final = json.JSONDecoder(parse_int=lambda _digits: 0, parse_float=lambda _digits: 0.0)
_NOT_JSON: Final = "The file is not valid JSON"


def checked(text: str) -> str:
    """Return the text of one JSON value without the blanks around it. Raises InvalidInput."""
    text = text.removeprefix("\ufeff").strip(" \t\r\n")
    try:
        check_depth(text)
    except InvalidInput as error:
        raise unreadable("The file nests too deeply.") from error
    end = _end_of_value(text, 0)
    if end != len(text):
        raise unreadable(f"{_NOT_JSON}{_place(text, end)}.")
    return text


def is_object(text: str) -> bool:
    """Return whether a part is an object."""
    return text.startswith("{")


def is_array(text: str) -> bool:
    """Return whether a part is an array."""
    return text.startswith("[")


def plain_text(text: str) -> str | None:
    """Return a string's text, or a number or boolean as it is written; None for null."""
    if text == "null":
        return None
    return str(json.loads(text)) if text.startswith('"') else text


def members(text: str) -> list[tuple[str, str]]:
    """Return name and text of each member of a valid object. Raises InvalidInput if a name is repeated."""
    pairs: list[tuple[str, str]] = []
    for at in _items(text):
        name, end = _DECODER.raw_decode(text, at)
        colon = _skip(text, end)
        begin = _skip(text, colon + 1)
        pairs.append((name, text[begin : _end_of_value(text, begin)]))
    if len({name for name, _ in pairs}) != len(pairs):
        raise unreadable("The file names something twice within one object.")
    return pairs


def elements(text: str) -> list[str]:
    """Return the text of each element of a valid array."""
    return [text[at : _end_of_value(text, at)] for at in _items(text)]


def _items(text: str) -> Iterator[int]:
    """Yield where each member or element of a valid object or array begins."""
    closing = "}" if text.startswith("{") else "]"
    at = _skip(text, 1)
    while text[at] != closing:
        yield at
        end = _end_of_value(text, at)
        after = _skip(text, end)
        if closing == "}":
            after = _skip(text, _end_of_value(text, _skip(text, after + 1)))
        at = _skip(text, after + 1) if text[after] == "," else after


def _end_of_value(text: str, at: int) -> int:
    # The parser's error carries the whole document, so ours is raised outside its handler.
    try:
        return _DECODER.raw_decode(text, at)[1]
    except json.JSONDecodeError as error:
        wrong = error.pos
    raise unreadable(f"{_NOT_JSON}{_place(text, wrong)}.")


def _skip(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _place(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    return f" (line {line}, column {at - text.rfind(chr(10), 0, at)})"


NULL: Final = "The value is null: give one, or leave the entry out."
_TEXTS: Final = ("description", "owner")


def parse_json_file(text: str) -> list[Entry]:
    """Return the entries of a JSON file. Raises InvalidInput."""
    text = checked(text)
    if is_object(text):
        return [named(place, name, part) for place, (name, part) in enumerate(members(text), 1)]
    if is_array(text):
        return [_described(place, part) for place, part in enumerate(elements(text), 1)]
    raise unreadable("The file holds one plain value: give an object of name and value.")


def named(place: int, name: str, part: str) -> Entry:
    """Return the entry of a name and the JSON text of its value; an object or array stays JSON."""
    if is_object(part) or is_array(part):
        return Entry(place=place, name=name, value=part, secret_type=SecretType.JSON)
    value = plain_text(part)
    if value is None:
        return Entry(place=place, name=name, fault=NULL)
    return Entry(place=place, name=name, value=value)


def _described(place: int, part: str) -> Entry:
    if not is_object(part):
        return Entry(place=place, name="", fault="The element is not an object with name and value.")
    parts = dict(members(part))
    name = plain_text(parts.get("name", "null"))
    if name is None:
        return Entry(place=place, name="", fault="The element has no name.")
    entry = named(place, name, parts.get("value", "null"))
    kind = plain_text(parts.get("secret_type", parts.get("type", "null")))
    try:
        return Entry(
            place=place,
            name=name,
            value=entry.value,
            secret_type=parse_secret_type(kind) if kind else entry.secret_type,
            metadata=_metadata(parts),
            fault=entry.fault,
        )
    except InvalidInput as error:
        return Entry(place=place, name=name, fault=error.reason)


def _metadata(parts: dict[str, str]) -> Metadata:
    metadata: dict[str, object] = {}
    for field in _TEXTS:
        text = plain_text(parts.get(field, "null"))
        if text is not None:
            metadata[field] = text
    tags = parts.get("tags", "null")
    if is_array(tags):
        metadata["tags"] = [plain_text(tag) or "" for tag in elements(tags)]
    if (until := plain_text(parts.get("expires_at", "null"))) is not None:
        metadata["expires_at"] = moment(until)
    return cast("Metadata", metadata)


def moment(text: str) -> object:
    """Return the time that ISO 8601 text with a zone names. Raises InvalidInput."""
    try:
        time = parse_datetime(text)
    except ValueError:
        time = None
    if time is None:
        raise InvalidInput("expires_at", "The expiry is not a time in ISO 8601 with its zone.")
    return time
