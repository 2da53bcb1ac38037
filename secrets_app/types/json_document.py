"""JSON values: strict RFC 8259, bounded in depth before any recursive parser sees them."""

import json
from collections.abc import Callable

from secrets_app.errors import InvalidValue
from secrets_app.types.bounds import Facts, is_encodable, refused

MAX_DEPTH = 64
# The bound on bytes keeps a JSON document below MAX_NODES; it is stated for YAML, where aliases multiply.
MAX_NODES = 100_000
_KINDS: dict[type, str] = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number"}


def inspect_json(value: str) -> Facts:
    """Return the kind of the top-level value and, of an object or array, the number of its members.

    Member names may be secrets themselves, so only their number is a fact.

    Raises InvalidValue if it is not JSON (RFC 8259), nests deeper than 64, or repeats a key.
    """
    check_depth(value)
    document = _parse(value)
    if not is_encodable(json.dumps(document, ensure_ascii=False)):
        raise refused("The JSON has a \\u escape for half of a surrogate pair: write the whole character.")
    facts: Facts = {"kind": _KINDS.get(type(document), "null")}
    if isinstance(document, dict | list):
        facts["members"] = len(document)
    return facts


def check_depth(value: str) -> None:
    """Refuse JSON that nests deeper than 64, before any recursive parser sees it. Raises InvalidValue."""
    depth = 0
    in_string = escaped = False
    for character in value:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise refused(f"The JSON nests deeper than {MAX_DEPTH} levels: flatten it.")
        elif character in "]}":
            depth -= 1


def _parse(value: str) -> object:
    # JSONDecodeError carries the whole document, so ours is raised outside the handler: without context.
    try:
        return json.loads(
            value,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            # Numbers are not kept, and huge ones need not be computed.
            parse_int=_zero,
            parse_float=_zero,
        )
    except json.JSONDecodeError as error:
        line, column = error.lineno, error.colno
    raise refused(f"Invalid JSON at line {line}, column {column}.")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise refused("Invalid JSON: a key is repeated within one object.")
    return members


def _refuse_constant(_name: str) -> InvalidValue:
    raise refused("Invalid JSON: NaN and Infinity are not allowed. Use null or text.")


_zero: Callable[[str], int] = lambda _text: 0  # noqa: E731 - json calls it with each number's text
