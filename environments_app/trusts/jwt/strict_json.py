"""JSON from strangers: bounded, without duplicate names, NaN or deep nesting. No Django."""

import json
from collections.abc import Sequence
from typing import Any, Final

_MAX_NAMES: Final = 1000
_MAX_DEPTH: Final = 10


class BadJson(ValueError):
    """A text is not the JSON object that is expected; `duplicate` if one of its names comes twice."""

    def __init__(self, reason: str, *, duplicate: bool = False) -> None:
        super().__init__(reason)
        self.duplicate = duplicate


def read_object(text: bytes | str) -> dict[str, Any]:
    """Return the JSON object of a text. Raises BadJson."""
    try:
        found = json.loads(
            text if isinstance(text, str) else text.decode("utf-8"),
            object_pairs_hook=_unique_names,
            parse_constant=_refuse_constant,
        )
    except BadJson:
        raise
    except (ValueError, RecursionError) as error:
        raise BadJson("it is not JSON") from error
    if not isinstance(found, dict):
        raise BadJson("it is not a JSON object")
    _refuse_deep(found, _MAX_DEPTH)
    return found


def _unique_names(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadJson("a name comes twice", duplicate=True)
    if len(found) > _MAX_NAMES:
        raise BadJson("it has too many names")
    return found


def _refuse_constant(_name: str) -> None:
    raise BadJson("it holds NaN or Infinity")


def _refuse_deep(value: Any, left: int) -> None:
    if left == 0:
        raise BadJson("it is nested too deeply")
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inside:
        _refuse_deep(each, left - 1)
