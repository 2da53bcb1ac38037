"""Splits JSON without changing a character: each part is the original text of the file.

A number or a nested object is imported as it was written. A parser would write 1.10 as 1.1.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from secrets_app.errors import InvalidInput
from secrets_app.importing.formats.entries import unreadable
from secrets_app.secret_types.json_document import check_depth

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
    """Return the text that a part stands for: a string's own, a number's or boolean's digits and words.

    None for null.
    """
    if text == "null":
        return None
    return str(json.loads(text)) if text.startswith('"') else text


def members(text: str) -> list[tuple[str, str]]:
    """Return name and text of each member of a valid object. Raises InvalidInput if a name is repeated."""
    found: list[tuple[str, str]] = []
    for at in _items(text):
        name, end = _DECODER.raw_decode(text, at)
        colon = _skip(text, end)
        begin = _skip(text, colon + 1)
        found.append((name, text[begin : _end_of_value(text, begin)]))
    if len({name for name, _ in found}) != len(found):
        raise unreadable("The file names something twice within one object.")
    return found


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
